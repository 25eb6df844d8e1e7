package server

import (
	"context"
	"strconv"
	"time"

	"github.com/promgrpc/exporter/internal/limit"
)

// HoldUp keeps blocks from being applied until release is called.
func (s *Server) HoldUp() (release func()) {
	all := s.replicas.all()
	for _, r := range all {
		r.index.mu.RLock()
	}
	return func() {
		for _, r := range all {
			r.index.mu.RUnlock()
		}
	}
}

// TakeTurns keeps all turns of lookups for itself until release is called.
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

// AgeEndings has logs that have ended be known for it for longer.
func (s *Server) AgeEndings(by time.Duration) {
	for _, r := range s.replicas.all() {
		if r.ending.since.Load() != 0 {
			r.ending.since.Add(-int64(by))
		}
	}
}
