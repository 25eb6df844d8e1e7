package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
)

// defaultHeartbeat is what an unset heartbeat_interval means.
const defaultHeartbeat = 10 * time.Second

// streams counts the open streams, and ends them.
type streams struct {
	budget *limit.Budget
	base   context.Context // ends with its cause when the server drains
	end    context.CancelCauseFunc
}

func newStreams(b *limit.Budget) *streams {
	s := &streams{budget: b}
	s.base, s.end = context.WithCancelCause(context.Background())
	return s
}

// open returns how many there are.
func (s *streams) open() int64 { return s.budget.Used() }

// enter admits a stream. Its context ends when the client's or the server's
// does; leave has to be called.
func (s *streams) enter(ctx context.Context) (stream context.Context, leave func(), err error) {
	if s.base.Err() != nil {
		return nil, nil, unavailable(context.Cause(s.base), "")
	}
	place := s.budget.Hold(callerOf(ctx).peer)
	if err := place.Resize(1); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.base, func() { cancel(context.Cause(s.base)) })
	return ctx, func() {
		stop()
		cancel(nil)
		place.Release()
	}, nil
}

// enter admits a stream, as those of streams does, if there is a log that can be
// served. Its request is not needed any more.
func (s *Server) enter(ctx context.Context) (stream context.Context, leave func(), err error) {
	callerOf(ctx).room.Release()
	stream, leave, err = s.streams.enter(ctx)
	if err != nil {
		return nil, nil, s.refused(err)
	}
	if err := s.serving(); err != nil {
		leave()
		return nil, nil, unavailable(err, "")
	}
	return stream, leave, nil
}

// getMetrics implements GetMetrics of the MetricsService.
func (s *Server) getMetrics(ctx context.Context, req *connect.Request[metricsv1.GetMetricsRequest], out *connect.ServerStream[response]) error {
	if err := checkGetMetrics(req.Msg); err != nil {
		return err
	}
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	start := s.evaluations.begin(ctx)
	defer start.end()
	selected, err := s.selection(start, req.Msg.GetSelectors())
	if err != nil {
		return s.refused(err)
	}
	sender := s.newSender(ctx, out)
	st := &stream{
		server:     s,
		ctx:        ctx,
		sender:     sender,
		out:        newAssembler(),
		selection:  selected,
		evaluation: s.evaluations.following(ctx),
		follow:     req.Msg.GetFollow(),
		references: req.Msg.GetLabelReferences(),
		heartbeat:  defaultHeartbeat,
		conflate:   newConflation(req.Msg.GetMinInterval().AsDuration()),
		lastSent:   time.Now(),
		hold:       s.streamBytes.Hold(sender.peer),
	}
	sender.stall.held = st.account
	st.decoding = decoding{st: st, turn: s.decodes.Hold(sender.peer)}
	st.step = st.decoding.step
	if h := req.Msg.GetHeartbeatInterval(); h != nil {
		st.heartbeat = h.AsDuration()
	}
	defer st.close()
	s.metrics.streamsBegun.WithLabelValues(startOf(req.Msg)).Inc()
	err = st.begin(req.Msg, start)
	if err == nil {
		start.end()
		err = st.run()
	}
	return s.ended(ctx, sender.stall, sender.peer, st.cursor, err)
}

// ended counts the end of a stream by its reason, and returns what the client is
// told: to go on after the cursor, where that can help.
func (s *Server) ended(ctx context.Context, stall *stall, peer, cursor string, err error) error {
	reason, told := s.verdict(ctx, stall, peer, cursor, err)
	s.metrics.streamsEnded.WithLabelValues(reason).Inc()
	stall.last()
	return told
}

func (s *Server) verdict(ctx context.Context, stall *stall, peer, cursor string, err error) (reason string, told error) {
	var known *connect.Error
	var damage *seglog.DamageError
	switch {
	case err == nil:
		return "complete", nil
	case stall.reason() != nil:
		return s.cutOff(peer, stall.reason())
	case errors.Is(context.Cause(ctx), errDraining):
		return "draining", unavailable(errDraining, cursor)
	case ctx.Err() != nil:
		return "client", ctx.Err()
	case errors.Is(err, errAged):
		return "max_age", unavailable(errAged, cursor)
	case errors.As(s.refused(err), &known):
		return known.Code().String(), known
	case errors.Is(err, seglog.ErrClosed):
		return "reopened", unavailable(errors.New("the log is being opened anew"), cursor)
	case errors.As(err, &damage):
		s.log.Log(slog.LevelError, "stream failed", "peer", peer, "err", err)
		return "damage", connect.NewError(connect.CodeDataLoss, err)
	}
	s.log.Log(slog.LevelError, "stream failed", "peer", peer, "err", err)
	return "internal", connect.NewError(connect.CodeInternal, err)
}

// cutOff says why a client was cut off. It is told in case it can still hear.
func (s *Server) cutOff(peer string, err error) (reason string, told error) {
	s.log.Log(slog.LevelWarn, "stream cut", "peer", peer, "err", err)
	if errors.Is(err, errStalled) {
		return "stalled", connect.NewError(connect.CodeAborted, err)
	}
	told = s.refused(err)
	return connect.CodeOf(told).String(), told
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
