package query

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"connectrpc.com/connect"
	"github.com/cespare/xxhash/v2"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/schedule"
	"github.com/promgrpc/exporter/server/selection"
)

// What a request means that does not say.
const (
	defaultStep  = 15 * time.Second
	defaultDelay = 10 * time.Second
)

// The kinds of results that can be streamed, as Prometheus names them.
const (
	typeVector = "vector"
	typeScalar = "scalar"
)

// plan is what a request asks for. All times are in ms.
type plan struct {
	expression *promql.Expression
	viewer     selection.Viewer
	step       int64
	delay      time.Duration
	lookback   time.Duration
	hash       uint64

	after *int64 // the step of the cursor
	since *int64 // aligned
	end   *int64

	follow, onChange, references bool
	refuse                       bool // while a group is away
	heartbeat                    time.Duration
	token                        string // of the cursor in the request
}

// plan checks a request, and parses what it asks for.
func (q *Queries) plan(ctx context.Context, v selection.Viewer, req *queryv1.QueryRequest) (*plan, error) {
	p := &plan{
		viewer: v, follow: req.GetFollow(), onChange: req.GetOnChange(), references: req.GetLabelReferences(),
		heartbeat: call.HeartbeatInterval(req.GetHeartbeatInterval()), refuse: req.GetWhenAway() == metricsv1.WhenAway_WHEN_AWAY_REFUSE,
	}
	if err := p.times(req, q.Lookback); err != nil {
		return nil, err
	}
	var err error
	if p.expression, err = q.parse(ctx, v, req.GetExpression()); err != nil {
		return nil, err
	}
	p.expression = p.expression.Canonical()
	p.hash = hashOf(p.expression.Text(), p.step, p.delay, p.lookback)
	return p, p.start(req)
}

// times reads what is not the start.
func (p *plan) times(req *queryv1.QueryRequest, lookback time.Duration) error {
	step, err := schedule.Duration("step", req.GetStep(), defaultStep)
	if err != nil {
		return refusal.Invalid(err.Error())
	}
	if p.delay, err = schedule.Duration("delay", req.GetDelay(), defaultDelay); err != nil {
		return refusal.Invalid(err.Error())
	}
	if p.lookback, err = schedule.Duration("lookback", req.GetLookback(), lookback); err != nil {
		return refusal.Invalid(err.Error())
	}
	p.step = step.Milliseconds()
	if req.GetEnd() != nil {
		ms, err := schedule.End("end", req.GetEnd())
		if err != nil {
			return refusal.Invalid(err.Error())
		}
		p.end = &ms
	}
	return nil
}

// start reads where it starts.
func (p *plan) start(req *queryv1.QueryRequest) error {
	switch start := req.GetStart().(type) {
	case *queryv1.QueryRequest_Since:
		ms, err := schedule.Start("since", start.Since)
		if err != nil {
			return refusal.Invalid(err.Error())
		}
		p.since = new(schedule.Align(ms, p.step))
	case *queryv1.QueryRequest_Cursor:
		c, err := cursor.ParseQuery(start.Cursor)
		if err != nil {
			return connect.NewError(connect.CodeInvalidArgument, err)
		}
		if c.Query != p.hash || len(c.State) > 0 || c.Evaluated%p.step != 0 || c.Evaluated < earliest || c.Evaluated > latest {
			return connect.NewError(connect.CodeInvalidArgument, errors.New("the cursor is one of another query: of another expression, step, delay or lookback"))
		}
		p.after, p.token = &c.Evaluated, start.Cursor
	}
	return nil
}

// Times of requests are between these, in ms: the years 1 and 9999.
var (
	earliest = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMilli()
)

// parse parses an expression that can be streamed.
func (q *Queries) parse(ctx context.Context, v selection.Viewer, text string) (*promql.Expression, error) {
	x, err := q.Engine.Parse(ctx, v, text)
	var syntax *promql.SyntaxError
	if errors.As(err, &syntax) {
		return nil, invalid(syntax)
	}
	if err != nil {
		return nil, err
	}
	if kind := string(x.Type()); kind != typeVector && kind != typeScalar {
		return nil, invalid(&promql.SyntaxError{End: len(text), Reason: "it results in a " + kind + ", and an instant vector or a scalar can be streamed"})
	}
	return x, nil
}

// invalid says where an expression is wrong.
func invalid(s *promql.SyntaxError) error {
	return refusal.Invalid("expression: "+daemon.Excerpt(s.Reason), &queryv1.InvalidExpression{Start: uint32(s.Start), End: uint32(s.End)})
}

// hashOf is of what is evaluated, the same at every replica.
func hashOf(text string, step int64, delay, lookback time.Duration) uint64 {
	b := append([]byte(text), 0)
	for _, n := range []int64{step, delay.Milliseconds(), lookback.Milliseconds()} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return xxhash.Sum64(b)
}
