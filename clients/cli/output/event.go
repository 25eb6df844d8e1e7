package output

import (
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// The kinds of events.
const (
	Synced    = "synced"
	Gap       = "gap"
	Away      = "away"
	Heartbeat = "heartbeat"
	End       = "end"
)

// Event is what a response says besides its series.
type Event struct {
	// Kind of the event, "" if the response has none.
	Kind string
	// Cursor of the response, "" if it has none.
	Cursor string
	// Gap, for an event of that kind.
	Gap *metricsv1.Gap
	// Away, for an event of that kind.
	Away *metricsv1.Away
	// Rewound says that the stream was, before this response.
	Rewound bool
	// Steps, for a response to a query.
	Steps *Steps
}

// Steps is what a query says of the steps of a response.
type Steps struct {
	// Evaluated is the time of the last one in milliseconds, 0 while there was none.
	Evaluated int64
	// Late counts samples that came too late for the step before.
	Late uint64
	// Annotations of the engine.
	Annotations []*queryv1.Annotation
}

// EventOf returns the event of a response to GetMetrics.
func EventOf(r *metricsv1.GetMetricsResponse, rewound bool) Event {
	e := Event{Cursor: r.GetCursor(), Gap: r.GetGap(), Away: r.GetAway(), Rewound: rewound}
	switch r.GetEvent().(type) {
	case *metricsv1.GetMetricsResponse_Synced:
		e.Kind = Synced
	case *metricsv1.GetMetricsResponse_Gap:
		e.Kind = Gap
	case *metricsv1.GetMetricsResponse_Away:
		e.Kind = Away
	case *metricsv1.GetMetricsResponse_Heartbeat:
		e.Kind = Heartbeat
	case *metricsv1.GetMetricsResponse_End:
		e.Kind = End
	}
	return e
}

// EventOfQuery returns the event of a response to Query.
func EventOfQuery(r *queryv1.QueryResponse) Event {
	s := &Steps{Late: r.GetLateSamples(), Annotations: r.GetAnnotations()}
	if r.GetEvaluated() != nil {
		s.Evaluated = r.GetEvaluated().AsTime().UnixMilli()
	}
	e := Event{Cursor: r.GetCursor(), Away: r.GetAway(), Steps: s}
	switch r.GetEvent().(type) {
	case *queryv1.QueryResponse_Synced:
		e.Kind = Synced
	case *queryv1.QueryResponse_Away:
		e.Kind = Away
	case *queryv1.QueryResponse_Heartbeat:
		e.Kind = Heartbeat
	case *queryv1.QueryResponse_End:
		e.Kind = End
	}
	return e
}

// Severity is an annotation's severity in words.
func Severity(s queryv1.Annotation_Severity) string {
	switch s {
	case queryv1.Annotation_SEVERITY_INFO:
		return "info"
	case queryv1.Annotation_SEVERITY_WARNING:
		return "warning"
	}
	return "unknown"
}
