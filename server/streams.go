package server

import (
	"context"
	"errors"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// streamConfig is what all streams of a server go by.
type streamConfig struct {
	// Staleness after which a series that got no sample is not live.
	Staleness time.Duration
	// StallTimeout after which a client that takes nothing is cut off. One that
	// takes MinRate bytes a second is not.
	StallTimeout time.Duration
	MinRate      units.Base2Bytes
	// CursorWait is how long a stream waits for this replica to reach its
	// cursor.
	CursorWait time.Duration
	// MaxAge after which a stream that follows is ended, to be taken up at any
	// replica. Zero: never. Below zero: every half hour if this server is
	// registered in Consul, where it has others beside it, and never otherwise.
	MaxAge time.Duration
}

// defaultStreamConfig returns the defaults of the flags.
func defaultStreamConfig() streamConfig {
	return streamConfig{
		Staleness:    5 * time.Minute,
		StallTimeout: 2 * time.Minute,
		MinRate:      16 * units.KiB,
		CursorWait:   10 * time.Second,
		MaxAge:       -1,
	}
}

// errNotReady is why nothing is served yet.
var errNotReady = errors.New("no log has been received yet")

// shared is what the streams of a server have of it.
type shared struct {
	replicas    *replica.Set
	evaluations *selection.Evaluations
	refusals    *refusal.Refusals
	log         *throttle.Logger // for what clients can cause
	open        *limit.Budget    // how many streams there may be
	bytes       *limit.Budget    // that their state takes
	decodes     *limit.Budget    // turns at the files
}

// streams are the streams of a server.
type streams struct {
	streamConfig
	shared
	metrics *streamMetrics
	base    context.Context // ends with its cause when the server drains
	end     context.CancelCauseFunc
}

// newStreams returns the streams of a server, of which there are none yet. MaxAge is
// that of the configuration, and not below zero.
func newStreams(c streamConfig, from shared) *streams {
	s := &streams{streamConfig: c, shared: from, metrics: newStreamMetrics()}
	s.base, s.end = context.WithCancelCause(context.Background())
	return s
}

// count returns how many are open.
func (s *streams) count() int64 { return s.open.Used() }

// held is how many bytes their state takes, beyond what each has for nothing.
func (s *streams) held() int64 { return s.bytes.Used() }

// collectors of what is counted of the streams.
func (s *streams) collectors() []prometheus.Collector { return s.metrics.all() }

// drain ends all streams, each with the cursor to go on with, and lets no more begin.
func (s *streams) drain() { s.end(refusal.ErrDraining) }

// serving says why calls are refused, nil if they are not.
func (s *streams) serving() error {
	if s.base.Err() != nil {
		return refusal.ErrDraining
	}
	if len(s.replicas.Serving()) == 0 {
		return errNotReady
	}
	return nil
}

// liveSince is when a series has to have been written to be live now, in ms.
func (s *streams) liveSince() int64 { return time.Now().Add(-s.Staleness).UnixMilli() }
