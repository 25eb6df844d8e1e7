package stream

import (
	"context"
	"time"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server/selection"
)

// defaultHeartbeat is what an unset heartbeat_interval means, in any call.
const defaultHeartbeat = 10 * time.Second

// GetMetrics serves a call of GetMetrics.
func (s *Streams) GetMetrics(ctx context.Context, from Caller, req *metricsv1.GetMetricsRequest, out *connect.ServerStream[Response]) error {
	c, err := s.admitReader(ctx, from)
	if err != nil {
		return err
	}
	defer c.Leave()
	start := s.Evaluations.New(c.ctx, from.Viewer())
	defer start.End()
	selected, err := start.Parse(req.GetSelectors())
	if err != nil {
		return s.Refusals.Of(err)
	}
	st := s.newStream(c, newSender(c, from, out), req, selected)
	defer st.close()
	c.Started(startOf(req))
	err = st.start(req, start)
	if err == nil {
		start.End()
		err = st.run()
	}
	return c.Ended(st.cursor, err)
}

func (s *Streams) newStream(c *Call, to *sender, req *metricsv1.GetMetricsRequest, selected selection.Selection) *stream {
	st := &stream{
		streams:    s,
		ctx:        c.ctx,
		peer:       c.from.Peer,
		rights:     c.from.Rights,
		sender:     to,
		out:        newAssembler(),
		selection:  selected,
		evaluation: s.Evaluations.Unlimited(c.ctx, c.from.Peer),
		follow:     req.GetFollow(),
		references: req.GetLabelReferences(),
		heartbeat:  defaultHeartbeat,
		conflate:   newConflation(req.GetMinInterval().AsDuration()),
		lastSent:   time.Now(),
		hold:       s.Bytes.Hold(c.from.Peer).With(c.from.Rights.Memory()),
	}
	c.stall.held = st.account
	st.decoding = decoding{st: st, turn: s.Decodes.Hold(c.from.Peer)}
	st.step = st.decoding.step
	if h := req.GetHeartbeatInterval(); h != nil {
		st.heartbeat = h.AsDuration()
	}
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
