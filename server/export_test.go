package server

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/promql"
)

// WebAddr is where operators look.
func (s *Server) WebAddr() net.Addr { return s.ops.Addr() }

// HoldUp keeps blocks from being applied until release is called.
func (s *Server) HoldUp() (release func()) {
	var held, ended sync.WaitGroup
	released := make(chan struct{})
	for _, r := range s.replicas.All() {
		held.Add(1)
		ended.Go(func() {
			r.BetweenBlocks(func() {
				held.Done()
				<-released
			})
		})
	}
	held.Wait()
	return func() {
		close(released)
		ended.Wait()
	}
}

// TakeTurns holds all turns of lookups until release is called.
func (s *Server) TakeTurns(ctx context.Context) (release func(), err error) {
	var held []*limit.Hold
	for i := range s.config.Lookups {
		turn := s.lookups.Hold(strconv.Itoa(i))
		if err := turn.Wait(ctx, 1); err != nil {
			return nil, err
		}
		held = append(held, turn)
	}
	return func() {
		for _, turn := range held {
			turn.Release()
		}
	}, nil
}

// LookupsWaiting is how many lookups wait for their turn.
func (s *Server) LookupsWaiting() int { return s.lookups.Waiting() }

// Ended says that a log had ended by a time.
func (s *Server) Ended(id segment.LogID, at time.Time) { s.replicas.Get(id).EndedBy(at) }

// SetRemote says what the bucket has of a log.
func (s *Server) SetRemote(id segment.LogID, infos []seglog.RemoteInfo) error {
	return s.replicas.SetRemote(id, infos)
}

// Archived says of how many logs nothing is on the disk.
func (s *Server) Archived() int { return len(s.replicas.Archived()) }

// TakeQueryBytes holds all memory of evaluations until release is called.
func (s *Server) TakeQueryBytes() (release func(), err error) {
	bytes, share := int64(s.config.Engine.Bytes), s.config.Share(int64(s.config.Engine.Bytes))
	var held []*limit.Hold
	release = func() {
		for _, h := range held {
			h.Release()
		}
	}
	for i := 0; bytes > 0; i++ {
		h := s.queryBytes.Hold(strconv.Itoa(i))
		if err := h.Resize(min(share, bytes)); err != nil {
			release()
			return nil, err
		}
		held, bytes = append(held, h), bytes-share
	}
	return release, nil
}

// Router is an engine that has groups evaluate what they can, and reads here what they
// cannot.
func (s *Server) Router(groups promql.Groups) *promql.Engine {
	return promql.New(s.config.Engine, promql.Shared{
		Source: s.samples, Evaluations: s.evaluations, Logger: s.logger, Groups: groups,
		Bytes: s.queryBytes, Turns: s.config.Budget(promql.FlagQueries, "turns", int64(s.config.Engine.Queries)),
	})
}

// QueryBytes is how much evaluations and their results hold.
func (s *Server) QueryBytes() int64 { return s.queryBytes.Used() }
