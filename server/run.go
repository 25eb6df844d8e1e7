package server

import (
	"context"
	"errors"

	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/rpc"
)

// Run serves until ctx ends. Then it reports NOT_SERVING for the drain delay, in which
// it goes on serving, ends the streams, each with the cursor to resume at, deregisters,
// and closes the logs.
func (s *Server) Run(ctx context.Context) error {
	var g daemon.Group
	g.Add("rpc", s.serveRPC)
	if s.registrar != nil {
		g.Add("consul", s.registrar.Run)
	}
	if s.upstream != nil {
		g.Add("upstream", s.upstream.Run)
	} else {
		g.Add("link", func(ctx context.Context) error {
			s.filled(ctx)       // What the bucket has a forwarder need not send.
			defer s.feed.Wait() // The listener has closed the connections then.
			return s.listener.Run(ctx, s.feed.Replicate)
		})
	}
	if s.archive != nil {
		g.Add("bucket", s.archive.Run)
	}
	if s.peers != nil {
		g.Add("peers", s.peers.Run)
	}
	g.Add("retirement", s.replicas.RunRetirement)
	if s.store.HasRemote() {
		g.Add("recall", s.replicas.RunRecall)
	}
	g.Add("readiness", s.rpc.WatchReadiness)
	g.Add("rights", s.serving.WatchRights)
	g.Add("web", s.ops.Run)
	err := g.Run(ctx)
	return errors.Join(err, s.Close())
}

// serveRPC serves until ctx ends, and then drains.
func (s *Server) serveRPC(ctx context.Context) error {
	return s.rpc.Run(ctx, s.rpcListener, rpc.Drain{
		Begin: func() {
			s.draining.Store(true)
			if s.registrar != nil {
				s.registrar.Withdraw()
			}
		},
		Delay: s.config.DelayOfDrain(), Timeout: s.config.DrainTimeout, Logger: s.logger,
	})
}

// errCatchingUp is why a server is not ready that was started with an old state.
var errCatchingUp = errors.New("the disk has an old state, and a forwarder is to bring what is newer")

// Ready says why calls should not come here, nil if they should. A server is ready when
// it has a log, from its disk or from a forwarder with which it has caught up. If what
// is on the disk is older than the staleness, it is not ready before it has caught up,
// unless there is no forwarder; and it is not ready while blocks of any log cannot be
// written or applied. With --peers it is not before those were asked for what only they
// have. It serves the calls that come all the same.
func (s *Server) Ready() error {
	if s.draining.Load() {
		return refusal.ErrDraining
	}
	if err := s.replicas.Check(); err != nil {
		return err
	}
	if s.upstream != nil {
		if err := s.upstream.Refused(); err != nil {
			return err
		}
	}
	if s.archive != nil && s.upstream == nil && s.archive.Filling() {
		return errFilling
	}
	if s.peers != nil {
		if err := s.peers.Check(); err != nil {
			return err
		}
	}
	for _, r := range s.replicas.All() {
		if r.CatchingUp(s.begun()) {
			return errCatchingUp
		}
	}
	return s.serving.Serving()
}
