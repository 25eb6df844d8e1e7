package stream

import (
	"context"
	"errors"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server/admission"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// Config of the streams of a server.
type Config struct {
	// Staleness after which a series that got no sample is not live.
	Staleness time.Duration
	// StallTimeout after which a client that takes nothing is cut off. One that
	// takes MinRate bytes a second is not.
	StallTimeout time.Duration
	MinRate      units.Base2Bytes
	// CursorWait is how long a stream waits for this replica to reach its
	// cursor.
	CursorWait time.Duration
	// MaxAge after which a stream that follows is ended, to resume at any replica. Zero:
	// never. Below zero: half an hour if this server is registered in Consul, as others
	// are then, and never otherwise.
	MaxAge time.Duration
}

// DefaultConfig returns the defaults of the flags.
func DefaultConfig() Config {
	return Config{
		Staleness:    5 * time.Minute,
		StallTimeout: 2 * time.Minute,
		MinRate:      16 * units.KiB,
		CursorWait:   10 * time.Second,
		MaxAge:       -1,
	}
}

// errNotReady is why nothing is served yet.
var errNotReady = errors.New("no log has been received yet")

// Shared is what the streams of a server need of it.
type Shared struct {
	Replicas    *replica.Set
	Evaluations *selection.Evaluations
	Refusals    *refusal.Refusals
	Admission   *admission.Admission
	Log         *throttle.Logger // of what clients can cause
	Open        *limit.Budget    // streams
	Watches     *limit.Budget    // of the health
	Bytes       *limit.Budget    // of their state
	Decodes     *limit.Budget    // turns to decode
}

// Streams are the streams of a server.
type Streams struct {
	Config
	Shared
	metrics *metrics
	watched watched
	base    context.Context // ends with its cause when the server drains
	end     context.CancelCauseFunc
}

// New returns the streams of a server, none so far. MaxAge must not be below zero.
func New(c Config, from Shared) *Streams {
	s := &Streams{Config: c, Shared: from, metrics: newMetrics()}
	s.base, s.end = context.WithCancelCause(context.Background())
	return s
}

// Count returns how many are open.
func (s *Streams) Count() int64 { return s.Open.Used() }

// Held is how many bytes their state takes, beyond what each has for nothing.
func (s *Streams) Held() int64 { return s.Bytes.Used() }

// Collectors are for what is counted of the streams.
func (s *Streams) Collectors() []prometheus.Collector { return s.metrics.all() }

// Drain ends all streams, each with the cursor to resume at, and admits no more.
func (s *Streams) Drain() { s.end(refusal.ErrDraining) }

// Serving says why calls are refused, nil if they are served.
func (s *Streams) Serving() error {
	if s.base.Err() != nil {
		return refusal.ErrDraining
	}
	if len(s.Replicas.Serving()) == 0 {
		return errNotReady
	}
	return nil
}

// LiveSince is when a series has to have been written to be live now, in ms.
func (s *Streams) LiveSince() int64 { return time.Now().Add(-s.Staleness).UnixMilli() }
