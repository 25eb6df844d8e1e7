package server

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/history"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/rule"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/window"
)

// QueryConfig is what evaluations of PromQL may cost, and what they read.
type QueryConfig struct {
	Engine promql.Config
	// Window is how long samples are kept in memory, by the logs' own time. 0: not at all.
	Window time.Duration
	// WindowBytes that they may take.
	WindowBytes units.Base2Bytes
	// IndexBytes that the index of what the segments hold may take on the disk.
	IndexBytes units.Base2Bytes
	// IndexSealed has the index of a segment made when it is complete, not when somebody
	// asks for it.
	IndexSealed bool
	// IdleAfter is how long a log may be silent before steps are not held back for it.
	IdleAfter time.Duration
	// Settle is how long a server that was just started waits for forwarders whose logs it
	// does not know, before it says which steps are due.
	Settle time.Duration
	// Rules is what files of rules may cost.
	Rules rule.Limits
}

// DefaultQueryConfig returns the defaults of the flags.
func DefaultQueryConfig() QueryConfig {
	return QueryConfig{
		Engine: promql.DefaultConfig(), Window: 15 * time.Minute, WindowBytes: 1 * units.GiB, IndexBytes: 1 * units.GiB,
		IdleAfter: time.Minute, Settle: 6 * time.Second, Rules: rule.DefaultLimits(),
	}
}

const (
	flagWindow      = "--query.window"
	flagWindowBytes = "--limit.window-bytes"
	flagIndexSealed = "--query.index-sealed"
	flagIdleAfter   = "--query.idle-after"
)

// RegisterFlags adds the flags. Their defaults are what c holds.
func (c *QueryConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag(flagWindow[2:], "Keep the samples of this long in memory, by series, for queries; at most "+mostWindow.String()+". What is older is read from the disk. 0 keeps none.").
		Default(c.Window.String()).DurationVar(&c.Window)
	app.Flag(flagWindowBytes[2:], "Most memory that these samples take, by estimate. Beyond it those of a shorter time are kept.").
		Default(c.WindowBytes.String()).BytesVar(&c.WindowBytes)
	app.Flag(history.FlagBytes[2:], "Most of the disk that the index takes of what the segments hold by series. What is not in it is read from the segments again.").
		Default(c.IndexBytes.String()).BytesVar(&c.IndexBytes)
	app.Flag(flagIndexSealed[2:], "Make the index of a segment when the segment is complete, which takes seconds of a processor, and not for the first query that needs it.").
		BoolVar(&c.IndexSealed)
	app.Flag(flagIdleAfter[2:], "Evaluate steps without a log of which nothing has come for this long, until it comes back.").
		Default(c.IdleAfter.String()).DurationVar(&c.IdleAfter)
	c.RegisterEvaluating(app)
}

// RegisterEvaluating adds the flags of evaluations alone.
func (c *QueryConfig) RegisterEvaluating(app *kingpin.Application) {
	e := &c.Engine
	app.Flag(promql.FlagLookback[2:], "How old a sample may be to count as the value of its series, unless a query says otherwise.").
		Default(e.Lookback.String()).DurationVar(&e.Lookback)
	app.Flag(promql.FlagQueries[2:], "Most evaluations of PromQL that run at a time; others wait for their turns. By default the number of processors, and 2 at least.").
		PlaceHolder("N").IntVar(&e.Queries)
	app.Flag(promql.FlagTime[2:], "Longest that one of them may take.").
		Default(e.Time.String()).DurationVar(&e.Time)
	app.Flag(promql.FlagSamples[2:], "Most samples that one of them holds at a time, as Prometheus counts them.").
		Default(strconv.FormatInt(e.Samples, 10)).Int64Var(&e.Samples)
	app.Flag(promql.FlagBytes[2:], "Most memory that all of them together take, by estimate.").
		Default(e.Bytes.String()).BytesVar(&e.Bytes)
	app.Flag(promql.FlagOperations[2:], "Most operators, brackets and calls of an expression.").
		Default(strconv.Itoa(e.Operations)).IntVar(&e.Operations)
	c.registerRuleFlags(app)
}

// registerRuleFlags adds those of files of rules.
func (c *QueryConfig) registerRuleFlags(app *kingpin.Application) {
	app.Flag(rule.FlagRules[2:], "Most rules of a file.").
		Default(strconv.Itoa(c.Rules.Rules)).IntVar(&c.Rules.Rules)
	app.Flag(rule.FlagAlerts[2:], "Most alerts of a file of rules that are pending or firing at a time, "+strconv.Itoa(rule.MaxAlerts)+" at most, since a cursor has room for no more.").
		Default(strconv.Itoa(c.Rules.Alerts)).IntVar(&c.Rules.Alerts)
	app.Flag(rule.FlagTemplateSize[2:], "Most that a template of an alert may have, and that it may print.").
		Default(c.Rules.TemplateSize.String()).BytesVar(&c.Rules.TemplateSize)
}

func (c *QueryConfig) check() error {
	for _, positive := range []struct {
		flag  string
		value int64
	}{
		{flagWindowBytes, int64(c.WindowBytes)},
		{history.FlagBytes, int64(c.IndexBytes)},
		{flagIdleAfter, int64(c.IdleAfter)},
	} {
		if positive.value <= 0 {
			return usage.Errorf("%s has to be above zero", positive.flag)
		}
	}
	if c.Window < 0 || c.Window > mostWindow {
		return usage.Errorf("%s is %s, it has to be from 0 to %s", flagWindow, c.Window, mostWindow)
	}
	return c.CheckEvaluating()
}

// CheckEvaluating says what is wrong with what evaluations may cost.
func (c *QueryConfig) CheckEvaluating() error {
	e := &c.Engine
	for _, positive := range []struct {
		flag  string
		value int64
	}{
		{promql.FlagLookback, int64(e.Lookback)},
		{promql.FlagQueries, int64(e.Queries)},
		{promql.FlagTime, int64(e.Time)},
		{promql.FlagSamples, e.Samples},
		{promql.FlagBytes, int64(e.Bytes)},
		{promql.FlagOperations, int64(e.Operations)},
		{rule.FlagRules, int64(c.Rules.Rules)},
		{rule.FlagAlerts, int64(c.Rules.Alerts)},
		{rule.FlagTemplateSize, int64(c.Rules.TemplateSize)},
	} {
		if positive.value <= 0 {
			return usage.Errorf("%s has to be above zero", positive.flag)
		}
	}
	if c.Rules.Alerts > rule.MaxAlerts {
		return usage.Errorf("%s is %d, it can be %d at most", rule.FlagAlerts, c.Rules.Alerts, rule.MaxAlerts)
	}
	return nil
}

// mostWindow is how long series are kept in the head at least that get no samples.
const mostWindow = time.Hour

// openWindows makes what the windows of all logs share.
func (c *QueryConfig) openWindows(logger *slog.Logger) *window.Memory {
	return window.NewMemory(window.Options{Span: c.Window, Bytes: int64(c.WindowBytes), Logger: logger})
}

// openQueries makes what evaluates PromQL.
func (s *Server) openQueries(reg prometheus.Registerer) error {
	c := &s.config
	s.queryBytes = c.Budget(promql.FlagBytes, "bytes", int64(c.Engine.Bytes))
	var err error
	s.history, err = history.Open(s.store, history.Options{
		Bytes: c.IndexBytes, Sealed: c.IndexSealed, Memory: s.queryBytes, Decodes: s.decodes,
		Logger: s.logger, Registerer: reg,
	})
	if err != nil {
		return err
	}
	s.samples = &samples.Store{Replicas: s.replicas, History: s.history, Evaluations: s.evaluations}
	s.engine = promql.New(c.Engine, promql.Shared{
		Source: s.samples, Evaluations: s.evaluations, Logger: s.logger,
		Bytes: s.queryBytes, Turns: c.Budget(promql.FlagQueries, "turns", int64(c.Engine.Queries)),
	})
	return nil
}
