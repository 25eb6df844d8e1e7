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

// Rules says which rules to evaluate, and from when. Without Since and Cursor each group
// starts with its latest step that is due.
type Rules struct {
	// File is the content of a rule file of Prometheus: groups of alerts and records in
	// YAML.
	File string
	// Since, if not nil, starts with the first step at this time or later. No alert is
	// active before it.
	Since *time.Time
	// Cursor, if not empty, goes on after the Ruling that had it, with the alerts that
	// were active then. It must be of Rules that are the same but for Since, End and
	// Follow. Since must be nil then.
	Cursor string
	// Active starts after Cursor with the alerts that are active there, whose previous
	// state is the one that they have.
	Active bool
	// End, if not nil, is the time of the last step.
	End *time.Time
	// Interval is that of groups that have none, 1 minute by default.
	Interval time.Duration
	// Follow goes on with each step as it becomes due.
	Follow bool
	// Delay, if not nil, is how long samples may take to arrive, for groups without a
	// query_offset: 10 seconds by default.
	Delay *time.Duration
	// ExternalLabels are added to alerts and records that do not have them.
	ExternalLabels map[string]string
	// ExternalURL is what templates and links have as the URL of the server.
	ExternalURL string
	// HeartbeatInterval is as in Query.
	HeartbeatInterval time.Duration
	// WhenAway is as in Query.
	WhenAway metricsv1.WhenAway
}

// Ruling is what one group of rules came to at one step, or an event, and the cursor that
// covers all steps up to it. It belongs to the caller.
//
// After a reconnect a following stream reports once more when it is synced.
type Ruling struct {
	*queryv1.EvaluateRulesResponse
	// Address of the server that sent it.
	Address string
}

// Rules streams what becomes of the alerts of a rule file, and what its records come to.
// Each step comes exactly once and as a whole, however often the stream breaks, and
// whichever server goes on with it. When and how it ends is as for Query.
//
// Ranging over the sequence again starts over.
func (c *Client) Rules(ctx context.Context, r Rules) iter.Seq2[Ruling, error] {
	return func(yield func(Ruling, error) bool) {
		if r.Since != nil && r.Cursor != "" {
			yield(Ruling{}, errBothStarts)
			return
		}
		t := terms{method: queryv1grpc.QueryService_EvaluateRules_FullMethodName, follow: r.Follow, heartbeat: r.HeartbeatInterval}
		began := false
		err := resume(ctx, c, t, newRulesResponse, &stepping[*queryv1.EvaluateRulesResponse]{
			cursor: r.Cursor,
			open:   func(cursor string) proto.Message { return r.request(cursor, began) },
			decode: func(*queryv1.EvaluateRulesResponse) error { return nil },
			join:   joinRulesResponses,
			yield: func(address string, m *queryv1.EvaluateRulesResponse) bool {
				began = began || m.GetGroup() == "" || m.GetCursor() != r.Cursor
				return yield(Ruling{EvaluateRulesResponse: m, Address: address}, nil)
			},
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(Ruling{}, located(err))
		}
	}
}

func newRulesResponse() *queryv1.EvaluateRulesResponse { return new(queryv1.EvaluateRulesResponse) }

// request is for a stream that goes on after a cursor. Once it began, the alerts that are
// active were told.
func (r Rules) request(cursor string, began bool) proto.Message {
	req := &queryv1.EvaluateRulesRequest{
		Rules:             r.File,
		Interval:          unlessZero(r.Interval),
		Follow:            r.Follow,
		ExternalLabels:    r.ExternalLabels,
		ExternalUrl:       r.ExternalURL,
		HeartbeatInterval: unlessZero(r.HeartbeatInterval),
		Active:            r.Active && !began,
		WhenAway:          r.WhenAway,
	}
	if cursor != "" {
		req.Start = &queryv1.EvaluateRulesRequest_Cursor{Cursor: cursor}
	} else if r.Since != nil {
		req.Start = &queryv1.EvaluateRulesRequest_Since{Since: timestamppb.New(*r.Since)}
	}
	if r.End != nil {
		req.End = timestamppb.New(*r.End)
	}
	if r.Delay != nil {
		req.Delay = durationpb.New(*r.Delay)
	}
	return req
}

// joinRulesResponses returns what two responses within a step say together.
func joinRulesResponses(first, second *queryv1.EvaluateRulesResponse) *queryv1.EvaluateRulesResponse {
	second.Timeseries = append(first.GetTimeseries(), second.GetTimeseries()...)
	second.Alerts = append(first.GetAlerts(), second.GetAlerts()...)
	second.Annotations = append(first.GetAnnotations(), second.GetAnnotations()...)
	second.Failures = append(first.GetFailures(), second.GetFailures()...)
	return second
}
