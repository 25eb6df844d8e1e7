package promgrpc

import (
	"errors"

	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// maxStepBytes bounds what is held of a step until it is complete.
const maxStepBytes = 1 << 30

var (
	// errPartial is the error of a stream with an event within a step.
	errPartial = errors.New("an event within a step")
	// errStepSize is the error of a step that is too large to be held.
	errStepSize = errors.New("a step of more than 1 GiB")
)

// stepMessage is a response of a call that goes step by step. A step ends with a
// response that has a cursor.
type stepMessage interface {
	message
	GetTimeseries() []*metricsv1.TimeSeries
	GetSynced() *metricsv1.Synced
	GetHeartbeat() *metricsv1.Heartbeat
	GetAway() *metricsv1.Away
}

// stepping is the progress of a call that goes step by step. It yields whole steps:
// what came of another one is dropped when a stream breaks, and comes again.
type stepping[R stepMessage] struct {
	cursor string                            // of the last whole step
	open   func(cursor string) proto.Message // returns the request of a stream that goes on there
	decode func(R) error                     // restores labels
	join   func(first, second R) R           // returns what both say, with the cursor and the event of the second
	yield  func(address string, r R) bool

	held  []R // what came since
	bytes int // of it
}

func (s *stepping[R]) request() proto.Message { return s.open(s.cursor) }

// within reports whether a response is a part of a step that more of follows.
func within[R stepMessage](r R) bool {
	return r.GetCursor() == "" && r.GetSynced() == nil && r.GetHeartbeat() == nil && r.GetAway() == nil && r.GetEnd() == nil
}

func (s *stepping[R]) restore(r R) error {
	switch {
	case r.GetCursor() != "":
	case within(r):
		if s.bytes += proto.Size(r); s.bytes > maxStepBytes {
			return errStepSize
		}
	case len(r.GetTimeseries()) > 0, r.GetEnd() != nil && len(s.held) > 0:
		return errPartial
	}
	return s.decode(r)
}

func (s *stepping[R]) deliver(address string, r R) bool {
	if within(r) {
		s.held = append(s.held, r)
		return true
	}
	if r.GetCursor() != "" {
		r = s.whole(r)
		s.cursor = r.GetCursor()
	}
	return s.yield(address, r)
}

// whole returns a step that a response completes, and holds none of it any more.
func (s *stepping[R]) whole(last R) R {
	parts := append(s.held, last)
	s.held, s.bytes = nil, 0
	all := parts[0]
	for _, next := range parts[1:] {
		all = s.join(all, next)
	}
	return all
}

// broke drops what came of a step that is not complete. A server's farewell covers no
// part of one.
func (s *stepping[R]) broke(farewell string) {
	if farewell != "" && len(s.held) == 0 {
		s.cursor = farewell
	}
	s.held, s.bytes = nil, 0
}
