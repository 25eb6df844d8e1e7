package stream

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/selection"
)

// GetMetrics serves a call of GetMetrics.
func (s *Streams) GetMetrics(ctx context.Context, from call.Caller, req *metricsv1.GetMetricsRequest, out *connect.ServerStream[call.Response]) error {
	c, err := s.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer c.Leave()
	start := s.Evaluations.New(c.Context(), from.Viewer())
	defer start.End()
	selected, err := start.Parse(req.GetSelectors())
	if err != nil {
		return s.Refusals.Of(err)
	}
	st := s.newStream(c, call.NewSender(c, out, func() proto.Message { return new(metricsv1.GetMetricsResponse) }), &from, req, selected)
	defer st.close()
	c.Started(startOf(req))
	err = st.start(req, start)
	if err == nil {
		start.End()
		err = st.run()
	}
	return c.Ended(st.cursor, err)
}

func (s *Streams) newStream(c *call.Call, to *call.Sender, from *call.Caller, req *metricsv1.GetMetricsRequest, selected selection.Selection) *stream {
	st := &stream{
		streams:    s,
		ctx:        c.Context(),
		peer:       from.Peer,
		rights:     from.Rights,
		sender:     to,
		out:        newAssembler(),
		selection:  selected,
		evaluation: s.Evaluations.Unlimited(c.Context(), from.Peer),
		follow:     req.GetFollow(),
		references: req.GetLabelReferences(),
		stride:     max(uint64(req.GetReferenceStride()), 1),
		part:       uint64(req.GetReferencePart()),
		heartbeat:  call.HeartbeatInterval(req.GetHeartbeatInterval()),
		conflate:   newConflation(req.GetMinInterval().AsDuration()),
		lastSent:   time.Now(),
		hold:       c.Hold(),
	}
	c.WhileBlocked(st.account)
	st.decoding = decoding{st: st, turn: s.Decodes.Hold(from.Peer)}
	st.step = st.decoding.step
	return st
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
