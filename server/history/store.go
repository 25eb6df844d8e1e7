package history

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/private"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/throttle"
)

// Options of a store.
type Options struct {
	// Bytes that the parts on disk may take.
	Bytes units.Base2Bytes
	// Sealed has the part of a segment made when the segment is sealed, not when
	// somebody asks for it.
	Sealed bool
	// Memory that is taken while parts are made, and by those that cannot be written.
	Memory *limit.Budget
	// Decodes are the turns of those who decode segments.
	Decodes *limit.Budget
	Logger  *slog.Logger
	// Registerer gets the metrics; may be nil.
	Registerer prometheus.Registerer
}

// Store has the parts of all logs of a server.
type Store struct {
	logs    *seglog.Store
	path    string // of the folder with the parts
	o       Options
	log     *slog.Logger
	told    *throttle.Logger
	metrics *metrics

	ctx     context.Context // of all work that goes on in the background
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	partBytes int64 // [partBytes], but for tests
	entries   map[key]*entry
	bytes     int64  // of the files, those that are being written included
	sealed    *build // the last one that nobody asked for
}

// key names a segment.
type key struct {
	log   segment.LogID
	first uint64
}

// entry is what there is of one segment. The store's lock guards it, but for the decoding:
// that is the build's, if there is one.
type entry struct {
	key
	// parts are of consecutive blocks from the first one on.
	parts []*stored
	// decoding goes on after the parts. Nil: none.
	decoding *decoding
	hold     *limit.Hold // of the decoding's memory
	building *build      // nil: none
	users    int         // selections that read it
	used     time.Time
	// merged says that it was tried to make one part of all, once the segment was complete.
	merged bool
	// of is the log that the parts were compared with.
	of *seglog.Log
	// damaged says that nothing after the block readable can be read.
	damaged  bool
	readable uint64
}

// written is the last block that the parts have.
func (en *entry) written() uint64 {
	if n := len(en.parts); n > 0 {
		return en.parts[n-1].to
	}
	return en.first - 1
}

// covered is the last block that the parts have and, if nobody moves it on, the decoding.
func (en *entry) covered() uint64 {
	if en.decoding != nil && en.building == nil {
		return max(en.written(), en.decoding.last)
	}
	return en.written()
}

const (
	// folderName is that of the folder with the parts, beside those of the logs.
	folderName = "index"
	// holder is whom memory and turns are counted for: what is made for one is for all.
	holder = "history"
	// sweepEvery is how often it is looked for what is no longer of use.
	sweepEvery = 15 * time.Second
	// toldEvery is how often it is said that parts cannot be written.
	toldEvery = 10 * time.Minute
	// idleAfter is how long a decoding is kept for the next who asks.
	idleAfter = 5 * time.Minute
)

// Open opens the parts of the logs of a store that are there.
func Open(logs *seglog.Store, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		logs: logs, path: filepath.Join(logs.Path(), folderName), o: o, log: o.Logger, told: throttle.New(o.Logger, toldEvery),
		entries: map[key]*entry{}, partBytes: partBytes,
	}
	s.metrics = newMetrics(o.Registerer, s)
	if err := private.MkdirAll(s.path); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.running.Go(s.sweepLoop)
	return s, nil
}

// Close ends what is being made. Nobody may be selecting.
func (s *Store) Close() error {
	s.cancel()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, en := range s.entries {
		en.stop()
	}
	return nil
}

// entry returns that of a segment. The caller holds the lock.
func (s *Store) entry(k key) *entry {
	en := s.entries[k]
	if en == nil {
		en = &entry{key: k, hold: s.o.Memory.Hold(holder)}
		s.entries[k] = en
	}
	return en
}

// stop gives up the decoding. The caller holds the lock, and nobody builds.
func (en *entry) stop() {
	if en.decoding != nil {
		en.decoding.reader.Close()
		en.decoding = nil
	}
	en.hold.Release()
}
