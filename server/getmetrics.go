package server

import (
	"context"
	"time"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server/selection"
)

// defaultHeartbeat is what an unset heartbeat_interval means.
const defaultHeartbeat = 10 * time.Second

// getMetrics serves a call of GetMetrics.
func (s *streams) getMetrics(ctx context.Context, from caller, req *metricsv1.GetMetricsRequest, out *connect.ServerStream[response]) error {
	c, err := s.admitServed(ctx, from)
	if err != nil {
		return err
	}
	defer c.leave()
	start := s.evaluations.Begin(c.ctx, c.peer)
	defer start.End()
	selected, err := start.Parse(req.GetSelectors())
	if err != nil {
		return s.refusals.Of(err)
	}
	st := s.newStream(c, newSender(c, from, out), req, selected)
	defer st.close()
	c.begun(startOf(req))
	err = st.begin(req, start)
	if err == nil {
		start.End()
		err = st.run()
	}
	return c.ended(st.cursor, err)
}

func (s *streams) newStream(c *call, to *sender, req *metricsv1.GetMetricsRequest, selected selection.Selection) *stream {
	st := &stream{
		streams:    s,
		ctx:        c.ctx,
		peer:       c.peer,
		sender:     to,
		out:        newAssembler(),
		selection:  selected,
		evaluation: s.evaluations.Following(c.ctx, c.peer),
		follow:     req.GetFollow(),
		references: req.GetLabelReferences(),
		heartbeat:  defaultHeartbeat,
		conflate:   newConflation(req.GetMinInterval().AsDuration()),
		lastSent:   time.Now(),
		hold:       s.bytes.Hold(c.peer),
	}
	c.stall.held = st.account
	st.decoding = decoding{st: st, turn: s.decodes.Hold(c.peer)}
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
