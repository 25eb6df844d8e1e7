package promgrpc

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1grpc"
)

// Query says which expression to evaluate, and at which steps: points in time, whole
// multiples of Step since the Unix epoch. Without Since and Cursor it starts with the
// latest step that is due.
type Query struct {
	// Expression in PromQL, whose result is an instant vector or a scalar.
	Expression string
	// Since, if not nil, starts with the first step at this time or later.
	Since *time.Time
	// Cursor, if not empty, starts with the step after the Steps that had it. They must
	// be of a Query with the same Expression, Step, Delay and Lookback. Since must be
	// nil then.
	Cursor string
	// End, if not nil, is the time of the last step.
	End *time.Time
	// Step is the time between two steps, 15 seconds by default.
	Step time.Duration
	// Follow goes on with each step as it becomes due.
	Follow bool
	// Delay, if not nil, is how long samples may take to arrive, 10 seconds by default.
	Delay *time.Duration
	// Lookback is how old a sample may be to count as the value of its series. Zero
	// means the server's own, 5 minutes unless configured.
	Lookback time.Duration
	// OnChange gets of each step only the series whose value differs from that of the
	// step before.
	OnChange bool
	// HeartbeatInterval is how long a following stream may be quiet, 10 seconds by
	// default. A server that is silent for three times as long is given up for the
	// next one.
	HeartbeatInterval time.Duration
	// WhenAway is what a router does while a group of servers is away: it says so by an
	// Away event, and waits with the next step; or it refuses.
	WhenAway metricsv1.WhenAway
}

// Steps is a part of a Query's stream: what the expression comes to at one step or at
// several, all of them whole, or an event, or both, and the cursor that covers all
// steps up to GetEvaluated. It belongs to the caller, except for the labels of series,
// which one Query's Steps share: they must not be modified.
//
// After a reconnect a following stream reports once more when it is synced.
type Steps struct {
	*queryv1.QueryResponse
	// Address of the server that sent it.
	Address string
}

// Query streams what q's expression comes to, step by step. Each step comes exactly
// once and as a whole, however often the stream breaks, and whichever server goes on
// with it. When and how it ends is as for Get, but for an *ExpressionError, which says
// where the expression is wrong.
//
// Ranging over the sequence again starts over.
func (c *Client) Query(ctx context.Context, q Query) iter.Seq2[Steps, error] {
	return func(yield func(Steps, error) bool) {
		if q.Since != nil && q.Cursor != "" {
			yield(Steps{}, errBothStarts)
			return
		}
		t := terms{method: queryv1grpc.QueryService_Query_FullMethodName, follow: q.Follow, heartbeat: q.HeartbeatInterval}
		known := labels{}
		err := resume(ctx, c, t, newQueryResponse, &stepping[*queryv1.QueryResponse]{
			cursor: q.Cursor,
			open: func(cursor string) proto.Message {
				clear(known) // references are valid for one stream
				return q.request(cursor)
			},
			decode: func(r *queryv1.QueryResponse) error {
				forget := r.GetForgetReferences()
				r.ForgetReferences = false
				return known.restore(forget, r.GetTimeseries())
			},
			join: joinQueryResponses,
			yield: func(address string, r *queryv1.QueryResponse) bool {
				return yield(Steps{QueryResponse: r, Address: address}, nil)
			},
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(Steps{}, located(err))
		}
	}
}

func newQueryResponse() *queryv1.QueryResponse { return new(queryv1.QueryResponse) }

func (q Query) request(cursor string) proto.Message {
	req := &queryv1.QueryRequest{
		Expression:        q.Expression,
		Step:              unlessZero(q.Step),
		Follow:            q.Follow,
		Lookback:          unlessZero(q.Lookback),
		OnChange:          q.OnChange,
		HeartbeatInterval: unlessZero(q.HeartbeatInterval),
		LabelReferences:   true,
		WhenAway:          q.WhenAway,
	}
	if cursor != "" {
		req.Start = &queryv1.QueryRequest_Cursor{Cursor: cursor}
	} else if q.Since != nil {
		req.Start = &queryv1.QueryRequest_Since{Since: timestamppb.New(*q.Since)}
	}
	if q.End != nil {
		req.End = timestamppb.New(*q.End)
	}
	if q.Delay != nil {
		req.Delay = durationpb.New(*q.Delay)
	}
	return req
}

// joinQueryResponses returns what two responses within a step say together.
func joinQueryResponses(first, second *queryv1.QueryResponse) *queryv1.QueryResponse {
	second.Timeseries = append(first.GetTimeseries(), second.GetTimeseries()...)
	second.Annotations = append(first.GetAnnotations(), second.GetAnnotations()...)
	second.LateSamples += first.GetLateSamples()
	return second
}
