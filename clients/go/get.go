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
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

// Selection says which series to get, from where, and how long. The zero Selection
// gets the latest sample of every live series.
type Selection struct {
	// Selectors are PromQL series selectors. A series is sent if any of them
	// matches. None means every series.
	Selectors []string
	// Since, if not nil, replays the retained samples from this time on, at or after
	// the year 1.
	Since *time.Time
	// Cursor, if not empty, resumes right after the Update that had it. Since must be
	// nil then.
	Cursor string
	// Follow goes on with new samples once the present is reached.
	Follow bool
	// MinInterval is the least time between two samples of a series while following.
	// Of those in between only the last is sent. Zero means every sample.
	MinInterval time.Duration
	// HeartbeatInterval is how long a following stream may be quiet, 10 seconds by
	// default. A server that is silent for three times as long is given up for the
	// next one.
	HeartbeatInterval time.Duration
	// WhenAway is what a router does while a group of servers is away: it goes on with the
	// others, says so by an Away event, and waits; or it refuses.
	WhenAway metricsv1.WhenAway
}

// Update is a part of a stream: series, an event, or both, and the cursor that
// covers everything up to and including it. It belongs to the caller, except for
// the labels of series, which updates of one Get share: they must not be
// modified.
//
// After a reconnect a following stream reports once more when it is synced.
type Update struct {
	*metricsv1.GetMetricsResponse
	// Address of the server that sent it.
	Address string
	// Rewound says that the stream broke where it could not be resumed: what came
	// since the last Update with a cursor comes again, starting here.
	Rewound bool
}

// Get streams what s asks for. When a stream breaks, it resumes after the last
// cursor at the next address, or at any address if the server ended the stream for
// its age. It ends after the Update with the End event, or with an error and an
// Update that has no response: an *Error that another attempt would not cure (an
// invalid selector, say), an *OutOfRangeError, an *UnreachableError when the
// attempts are used up, a *SuspectError when this very call seems to kill servers,
// or the cause of ctx. A following stream that was served before does not give up
// on a suspicion, but pauses for up to a minute.
//
// Ranging over the sequence again starts over.
func (c *Client) Get(ctx context.Context, s Selection) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		if s.Since != nil && s.Cursor != "" {
			yield(Update{}, errBothStarts)
			return
		}
		t := terms{method: metricsv1grpc.MetricsService_GetMetrics_FullMethodName, follow: s.Follow, heartbeat: s.HeartbeatInterval}
		empty := func() *metricsv1.GetMetricsResponse { return new(metricsv1.GetMetricsResponse) }
		err := resume(ctx, c, t, empty, &getting{selection: s, yield: yield, cursor: s.Cursor})
		if err != nil && !errors.Is(err, errStopped) {
			yield(Update{}, err)
		}
	}
}

// getting is how far a Get has come.
type getting struct {
	selection Selection
	yield     func(Update, error) bool
	known     labels // of this stream

	cursor    string // of the last update that had one
	uncovered bool   // samples were yielded since
	rewound   bool   // the next update is the first that comes again
}

func (g *getting) request() proto.Message {
	g.known = make(labels)
	s := g.selection
	req := &metricsv1.GetMetricsRequest{
		Selectors: s.Selectors,
		Follow:    s.Follow,
		// A snapshot has each series only once.
		LabelReferences: s.Follow || g.cursor != "" || s.Since != nil,
		WhenAway:        s.WhenAway,
	}
	if g.cursor != "" {
		req.Start = &metricsv1.GetMetricsRequest_Cursor{Cursor: g.cursor}
	} else if s.Since != nil {
		req.Start = &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(*s.Since)}
	}
	req.MinInterval = unlessZero(s.MinInterval)
	req.HeartbeatInterval = unlessZero(s.HeartbeatInterval)
	return req
}

// unlessZero returns nil for what was not set.
func unlessZero(d time.Duration) *durationpb.Duration {
	if d <= 0 {
		return nil
	}
	return durationpb.New(d)
}

func (g *getting) restore(r *metricsv1.GetMetricsResponse) error {
	forget := r.GetForgetReferences()
	r.ForgetReferences = false
	return g.known.restore(forget, r.GetTimeseries())
}

func (g *getting) deliver(address string, r *metricsv1.GetMetricsResponse) bool {
	update := Update{GetMetricsResponse: r, Address: address, Rewound: g.rewound}
	g.rewound = false
	if r.GetCursor() != "" {
		g.cursor, g.uncovered = r.GetCursor(), false
	} else if len(r.GetTimeseries()) > 0 {
		g.uncovered = true
	}
	return g.yield(update, nil)
}

// broke prepares to resume after the last cursor, or that of the server's farewell.
func (g *getting) broke(farewell string) {
	if farewell != "" {
		g.cursor, g.uncovered = farewell, false
	}
	if g.uncovered {
		g.uncovered, g.rewound = false, true
	}
}
