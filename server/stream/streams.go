package stream

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/watch"
)

// Config of the streams of a server.
type Config struct {
	// Staleness after which a series that got no sample is not live.
	Staleness time.Duration
	// CursorWait is how long a stream waits for this replica to reach its
	// cursor.
	CursorWait time.Duration
}

// DefaultConfig returns the defaults of the flags.
func DefaultConfig() Config {
	return Config{Staleness: 5 * time.Minute, CursorWait: 10 * time.Second}
}

// ErrNotReady is why nothing is served yet.
var ErrNotReady = errors.New("no log has been received yet")

// Shared is what the streams of a server need of it.
type Shared struct {
	*call.Calls
	Replicas    *replica.Set
	Evaluations *selection.Evaluations
	Decodes     *limit.Budget // turns to decode
}

// Streams are the streams of a server that read its logs.
type Streams struct {
	Config
	Shared
	metrics *metrics
	watches *watch.Watches
}

// New returns the streams of a server, none so far.
func New(c Config, from Shared) *Streams {
	return &Streams{Config: c, Shared: from, metrics: newMetrics(), watches: watch.New(from.Replicas)}
}

// Collectors are for what is counted of the streams.
func (s *Streams) Collectors() []prometheus.Collector { return s.metrics.all() }

// LiveSince is when a series has to have been written to be live now, in ms.
func (s *Streams) LiveSince() int64 { return time.Now().Add(-s.Staleness).UnixMilli() }
