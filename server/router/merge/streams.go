package merge

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/server/call"
)

// Streams serve GetMetrics out of the groups.
type Streams struct {
	Calls  *call.Calls
	Groups Groups
	// Placement of series in the groups, nil: none has ever moved.
	Placement func() *placement.Placement
	// Narrow returns the selectors of what a caller selects and may see.
	Narrow func(ctx context.Context, from call.Caller, selectors []string) ([]string, error)
	// Timeout after which a group counts as away of which no server lets a stream be
	// opened.
	Timeout time.Duration
	// Staleness after which a series that got no sample is not live.
	Staleness time.Duration
	Metrics   *Metrics
}

// GetMetrics serves a call.
func (s *Streams) GetMetrics(ctx context.Context, from call.Caller, req *metricsv1.GetMetricsRequest, out *connect.ServerStream[call.Response]) error {
	c, err := s.Calls.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer c.Leave()
	selectors, err := s.Narrow(c.Context(), from, req.GetSelectors())
	if err != nil {
		return s.Calls.Refusals.Of(err)
	}
	c.Started(startOf(req))
	st := s.newStream(c, from, req, selectors)
	st.sender = call.NewSender(c, out, func() proto.Message { return new(metricsv1.GetMetricsResponse) })
	c.WhileBlocked(st.account)
	defer st.close()
	err = st.start(req)
	if err == nil {
		err = st.run()
	}
	return c.Ended(st.cursor, err)
}

func startOf(req *metricsv1.GetMetricsRequest) string {
	switch req.GetStart().(type) {
	case *metricsv1.GetMetricsRequest_Cursor:
		return "cursor"
	case *metricsv1.GetMetricsRequest_Since:
		return "since"
	}
	return "latest"
}

func (s *Streams) newStream(c *call.Call, from call.Caller, req *metricsv1.GetMetricsRequest, selectors []string) *stream {
	st := &stream{
		Streams:   s,
		ctx:       c.Context(),
		rights:    from.Rights,
		follow:    req.GetFollow(),
		refuse:    req.GetWhenAway() == metricsv1.WhenAway_WHEN_AWAY_REFUSE,
		heartbeat: call.HeartbeatInterval(req.GetHeartbeatInterval()),
		hold:      c.Hold(),
		movedHold: c.Hold(),
		out:       newJoined(),
		woken:     make(chan struct{}, 1),
		lastSent:  time.Now(),
		request: &metricsv1.GetMetricsRequest{
			Selectors:   selectors,
			Follow:      req.GetFollow(),
			MinInterval: req.GetMinInterval(),
		},
		references: req.GetLabelReferences(),
	}
	if st.follow {
		st.request.HeartbeatInterval = heartbeatOf(st.heartbeat)
	}
	return st
}
