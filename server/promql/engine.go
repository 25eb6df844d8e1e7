package promql

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/stats"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// Shared is what evaluations share with the rest of a server.
type Shared struct {
	Source      Source
	Evaluations *selection.Evaluations
	Logger      *slog.Logger
	// Groups evaluate parts of expressions, at a router. Nil: there are none.
	Groups Groups
	// Bytes is of [FlagBytes], Turns of [FlagQueries].
	Bytes, Turns *limit.Budget
}

// Engine evaluates expressions.
type Engine struct {
	config Config
	shared Shared
	parser parser.Parser
	engine *promql.Engine
	// joining is for what is left once groups have evaluated the leaves; nil: there are none.
	joining *promql.Engine
}

// New returns an engine with the options that Prometheus has unless it is told otherwise.
func New(c Config, from Shared) *Engine {
	e := &Engine{config: c, shared: from, parser: parser.NewParser(parser.Options{ExperimentalDurationExpr: true})}
	o := promql.EngineOpts{
		Logger:                   from.Logger,
		MaxSamples:               int(c.Samples),
		Timeout:                  2 * c.Time, // the context ends before that
		LookbackDelta:            c.Lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryStep.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		Parser:                   e.parser,
	}
	e.engine = promql.NewEngine(o)
	if from.Groups != nil {
		o.Parser = leafParser{e.parser}
		e.joining = promql.NewEngine(o)
	}
	return e
}

// subqueryStep of a subquery that says none is Prometheus' default evaluation interval.
const subqueryStep = time.Minute

// Options of an evaluation.
type Options struct {
	// Viewer who asks. It sees only what it is allowed to.
	Viewer selection.Viewer
	// Delay after each step by which a sample has to have arrived. Nil: all that is there.
	Delay *time.Duration
	// Lookback is how old a sample may be to count as the value of its series. 0: as
	// configured.
	Lookback time.Duration
	// Overlay is series besides those of the logs, which count in place of theirs and have
	// no delay.
	Overlay []chunk.Series
	// Late is the length of a step in ms, for Result.Late. 0: it is not counted.
	Late int64
}

// Result of an evaluation.
type Result struct {
	Value       parser.Value
	Annotations annotations.Annotations
	// Late is how many samples were read that the step before had not seen, although their
	// timestamps are not after it.
	Late uint64
	// Statistics as the engine has them, nil if it took several runs, or several engines.
	Statistics *stats.Statistics
}

// Evaluate evaluates an expression at each step of a range, all in ms. The result is a
// [Matrix], sorted by labels. If the step is 0, the range is an instant, and the result
// what the expression is of. The error is one of a limit, one of ctx, or what Prometheus'
// engine says.
func (e *Engine) Evaluate(ctx context.Context, x *Expression, start, end, step int64, o Options) (*Result, error) {
	whole := span{start, end, step}
	if p := e.push(x, o); p != nil {
		defer p.close()
		return p.steps(ctx, whole, o)
	}
	return e.evaluateWhole(ctx, x, whole, o)
}

// evaluateWhole evaluates an expression by itself.
func (e *Engine) evaluateWhole(ctx context.Context, x *Expression, whole span, o Options) (*Result, error) {
	return e.inTurn(ctx, x, whole, o, func(v *evaluation) (*Result, error) { return v.evaluate(whole) })
}

// inTurn evaluates some steps once it is their turn.
func (e *Engine) inTurn(ctx context.Context, x *Expression, whole span, o Options, evaluate func(*evaluation) (*Result, error)) (*Result, error) {
	ctx, end, err := e.Turn(ctx, o.Viewer)
	if err != nil {
		return nil, err
	}
	defer end()
	v := &evaluation{ctx: ctx, engine: e, x: x, options: o, reading: e.newReading(ctx, o, whole)}
	defer v.reading.close()
	result, err := v.guarded(evaluate)
	if err != nil {
		return nil, v.failed(err)
	}
	return result, nil
}

// Turn waits for a turn of a viewer, which whoever reads samples takes. The context ends when it has taken as long as it may;
// end has to be called.
func (e *Engine) Turn(ctx context.Context, v selection.Viewer) (_ context.Context, end func(), err error) {
	turn := e.shared.Turns.Hold(v.Peer)
	if err := turn.Wait(ctx, 1); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.config.Time, limit.Over(FlagTime, "the evaluation has taken more than %v", e.config.Time))
	return ctx, func() {
		cancel()
		turn.Release()
	}, nil
}

// InTurn reads samples once it is a viewer's turn. If the context that read gets ends, for
// the caller's sake or the time that an evaluation may take, the error is its cause.
func (e *Engine) InTurn(ctx context.Context, v selection.Viewer, read func(context.Context) error) error {
	ctx, end, err := e.Turn(ctx, v)
	if err != nil {
		return err
	}
	defer end()
	if err = read(ctx); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Series calls yield with the labels of each series that any of the sets of matchers
// matches and that has samples between two times, both inclusive, in ms. Each comes once,
// sorted by labels. One that has samples before and after these times may come, too.
func (e *Engine) Series(ctx context.Context, v selection.Viewer, sets [][]*labels.Matcher, from, to int64, yield func(labels.Labels) error) error {
	ctx, end, err := e.Turn(ctx, v)
	if err != nil {
		return err
	}
	defer end()
	held := e.Hold(v)
	defer held.Release()
	found, err := e.shared.Source.Select(ctx, v, held, samples.Query{Sets: sets, From: from, To: to, LabelsOnly: true})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	for _, s := range found {
		if err := yield(s.Labels); err != nil {
			return err
		}
	}
	return nil
}
