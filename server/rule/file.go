package rule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"google.golang.org/protobuf/proto"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/schedule"
	"github.com/promgrpc/exporter/server/selection"
)

// Defaults of a request.
const (
	defaultInterval = time.Minute
	defaultDelay    = 10 * time.Second
)

// file of rules that was checked. It is never changed.
type file struct {
	groups         []*group
	externalLabels labels.Labels
	externalURL    *url.URL
	// hash of all that evaluations depend on.
	hash uint64
}

// group of rules that are evaluated at the same steps.
type group struct {
	name string
	// interval is the length of its steps, and delay how long samples may take to arrive;
	// both in ms.
	interval, delay int64
	limit           int // of what each of its rules may result in; 0: none
	rules           []*rule
	// overlaid are the records that later rules or templates may read.
	overlaid bool
}

// rule is an alert or a record.
type rule struct {
	name       string
	alert      bool
	expression *promql.Expression
	hold, keep int64         // ms: for and keep_firing_for
	labels     labels.Labels // with the group's, as they are in the file
	// labelTexts and annotations of an alert.
	labelTexts, annotations []text
}

// invalidError is a file that cannot be evaluated.
type invalidError struct {
	Group, Rule string
	// Syntax of the expression, if that is what is wrong.
	Syntax *promql.SyntaxError
	Reason string
}

func (e *invalidError) Error() string { return "the rules are not valid: " + e.Reason }

// detail says where it is wrong.
func (e *invalidError) detail() *queryv1.InvalidExpression {
	d := &queryv1.InvalidExpression{Group: e.Group, Rule: e.Rule}
	if e.Syntax != nil {
		d.Start, d.End = uint32(e.Syntax.Start), uint32(e.Syntax.End)
	}
	return d
}

// reader reads one file of rules.
type reader struct {
	parser.Parser
	ctx     context.Context
	engine  *promql.Engine
	viewer  selection.Viewer
	limits  Limits
	request *queryv1.EvaluateRulesRequest
	grow    func(int64) error // takes room for so many bytes
	parsed  map[string]*promql.Expression
}

// ParseExpr is for Prometheus' loader. Regular expressions are measured before they are
// compiled.
func (r *reader) ParseExpr(text string) (parser.Expr, error) {
	if r.parsed[text] != nil {
		return nil, nil // the loader only wants to know whether it parses
	}
	if len(r.parsed) >= r.limits.Rules {
		return nil, limit.Over(FlagRules, "the file has more than %d rules", r.limits.Rules)
	}
	x, err := r.engine.Parse(r.ctx, r.viewer, text)
	if err != nil {
		return nil, err
	}
	r.parsed[text] = x
	return nil, r.grow(selection.ExpressionBytes(text))
}

// fileByte is what a byte of a file takes in memory at most, while it is read.
const fileByte = 64

// read checks a file of rules. Its error is an *[invalidError] or one of a limit.
func (r *reader) read() (*file, error) {
	text := r.request.GetRules()
	if err := r.grow(fileByte * int64(len(text))); err != nil {
		return nil, err
	}
	r.parsed = map[string]*promql.Expression{}
	groups, errs := rulefmt.Parse([]byte(text), false, model.UTF8Validation, r, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return nil, loadError(errs[0])
	}
	f := &file{externalLabels: labels.FromMap(r.request.GetExternalLabels()), externalURL: &url.URL{}, hash: hashOf(r.request)}
	if u := r.request.GetExternalUrl(); u != "" {
		var err error
		if f.externalURL, err = url.Parse(u); err != nil {
			return nil, &invalidError{Reason: "external_url: " + err.Error()}
		}
	}
	rules := 0
	for _, g := range groups.Groups {
		if rules += len(g.Rules); rules > r.limits.Rules {
			return nil, limit.Over(FlagRules, "the file has more than %d rules", r.limits.Rules)
		}
		made, err := r.group(&g)
		if err != nil {
			return nil, err
		}
		f.groups = append(f.groups, made)
	}
	if rules == 0 {
		return nil, &invalidError{Reason: "there are none"}
	}
	return f, f.checkReads()
}

// loadError is what Prometheus' loader says, with the line.
func loadError(err error) error {
	var over *limit.Error
	if errors.As(err, &over) {
		return over
	}
	invalid := &invalidError{Reason: err.Error()}
	var of *rulefmt.Error
	if errors.As(err, &of) {
		invalid.Group, invalid.Rule = of.Group, of.RuleName
	}
	errors.As(err, &invalid.Syntax)
	return invalid
}

func (r *reader) group(from *rulefmt.RuleGroup) (*group, error) {
	interval, err := schedule.Duration("interval", r.request.GetInterval(), defaultInterval)
	if err != nil {
		return nil, &invalidError{Reason: err.Error()}
	}
	delay, err := schedule.Duration("delay", r.request.GetDelay(), defaultDelay)
	if err != nil {
		return nil, &invalidError{Reason: err.Error()}
	}
	g := &group{name: from.Name, limit: from.Limit}
	g.interval = cmp.Or(time.Duration(from.Interval), interval).Milliseconds()
	if from.QueryOffset != nil {
		delay = time.Duration(*from.QueryOffset)
	}
	g.delay = delay.Milliseconds()
	if err := g.check(); err != nil {
		return nil, err
	}
	for i := range from.Rules {
		made, err := r.rule(from, &from.Rules[i])
		if err != nil {
			return nil, err
		}
		g.rules = append(g.rules, made)
	}
	return g, nil
}

// Bounds of a group, as the request has them for all groups.
const (
	minInterval = time.Second
	maxInterval = 24 * time.Hour
	maxDelay    = time.Hour
)

func (g *group) check() error {
	if g.interval < minInterval.Milliseconds() || g.interval > maxInterval.Milliseconds() {
		return &invalidError{Group: g.name, Reason: fmt.Sprintf("group %q: its interval has to be %v to %v", g.name, minInterval, maxInterval)}
	}
	if g.delay < 0 || g.delay > maxDelay.Milliseconds() {
		return &invalidError{Group: g.name, Reason: fmt.Sprintf("group %q: its query_offset has to be 0 to %v", g.name, maxDelay)}
	}
	return nil
}

func (r *reader) rule(in *rulefmt.RuleGroup, from *rulefmt.Rule) (*rule, error) {
	made := &rule{
		name:       cmp.Or(from.Alert, from.Record),
		alert:      from.Alert != "",
		expression: r.parsed[from.Expr],
		hold:       time.Duration(from.For).Milliseconds(),
		keep:       time.Duration(from.KeepFiringFor).Milliseconds(),
		labels:     rulefmtLabels(in.Labels, from.Labels),
	}
	invalid := func(err error) error {
		return &invalidError{Group: in.Name, Rule: made.name, Reason: fmt.Sprintf("group %q, rule %q: %v", in.Name, made.name, err)}
	}
	if t := made.expression.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return nil, invalid(fmt.Errorf("the expression is a %s, not an instant vector or a scalar", parser.DocumentedType(t)))
	}
	if !made.alert {
		return made, nil
	}
	var err error
	most := int64(r.limits.TemplateSize)
	if made.labelTexts, err = newTexts(made.labels.Map(), most); err == nil {
		made.annotations, err = newTexts(from.Annotations, most)
	}
	var over *limit.Error
	if err != nil && !errors.As(err, &over) {
		err = invalid(err)
	}
	return made, err
}

// rulefmtLabels are those of a rule, with those of its group that it does not have.
func rulefmtLabels(ofGroup, ofRule map[string]string) labels.Labels {
	b := labels.NewBuilder(labels.FromMap(ofGroup))
	for name, value := range ofRule {
		b.Set(name, value)
	}
	return b.Labels()
}

// hashOf all of a request that evaluations depend on.
func hashOf(r *queryv1.EvaluateRulesRequest) uint64 {
	of := &queryv1.EvaluateRulesRequest{
		Rules: r.GetRules(), Interval: r.GetInterval(), Delay: r.GetDelay(),
		ExternalLabels: r.GetExternalLabels(), ExternalUrl: r.GetExternalUrl(),
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(of)
	if err != nil {
		return 0 // it was unmarshalled, so it can be marshalled
	}
	return xxhash.Sum64(wire)
}
