package call

import (
	"context"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server/admission"
	"github.com/promgrpc/exporter/server/refusal"
)

// Bounds of each stream.
type Bounds struct {
	// StallTimeout after which a client that takes nothing is cut off. One that
	// takes MinRate bytes a second is not.
	StallTimeout time.Duration
	MinRate      units.Base2Bytes
	// MaxAge after which a stream that follows is ended, to resume at any replica. Zero:
	// never. Below zero: half an hour if this server is registered in Consul, as others
	// are then, and never otherwise.
	MaxAge time.Duration
}

// DefaultBounds returns the defaults of the flags.
func DefaultBounds() Bounds {
	return Bounds{StallTimeout: 2 * time.Minute, MinRate: 16 * units.KiB, MaxAge: -1}
}

// Shared is what the calls of a server share.
type Shared struct {
	Refusals  *refusal.Refusals
	Admission *admission.Admission
	Log       *throttle.Logger // of what clients can cause
	Open      *limit.Budget    // streams
	Watches   *limit.Budget    // of the health
	Bytes     *limit.Budget    // of the streams' state
	// Begun says why nothing is served yet, nil once it is.
	Begun func() error
}

// Calls are the streams of a server, of any kind.
type Calls struct {
	Bounds
	Shared
	metrics *metrics
	watched watched
	base    context.Context // ends with its cause when the server drains
	end     context.CancelCauseFunc
}

// New returns the calls of a server, none so far. MaxAge must not be below zero.
func New(b Bounds, from Shared) *Calls {
	s := &Calls{Bounds: b, Shared: from, metrics: newMetrics()}
	s.base, s.end = context.WithCancelCause(context.Background())
	return s
}

// Count returns how many are open.
func (s *Calls) Count() int64 { return s.Open.Used() }

// Held is how many bytes their state takes, beyond what each has for nothing.
func (s *Calls) Held() int64 { return s.Bytes.Used() }

// Collectors are for what is counted of the streams.
func (s *Calls) Collectors() []prometheus.Collector { return s.metrics.all() }

// Drain ends all streams, each with the cursor to resume at, and admits no more.
func (s *Calls) Drain() { s.end(refusal.ErrDraining) }

// Serving says why calls are refused, nil if they are served.
func (s *Calls) Serving() error {
	if s.base.Err() != nil {
		return refusal.ErrDraining
	}
	return s.Begun()
}
