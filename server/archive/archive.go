package archive

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/archive/plan"
	"github.com/promgrpc/exporter/server/replica"
)

// Archive keeps the logs of a server in a bucket.
type Archive struct {
	config  Config
	bucket  bucket.Bucket
	logger  *slog.Logger
	metrics *metrics
	health  health

	catalogue *catalogue
	reader    *reader
	replicas  *replica.Set

	// lifetime ends with Close: reads of the bucket have no other.
	lifetime context.Context
	end      context.CancelFunc
	filled   chan struct{}
	uploads  chan struct{} // turns

	mu       sync.Mutex
	uploader map[segment.LogID]*uploader
	floors   map[segment.LogID]uint64 // of the bucket's retention: where logs begin
	filledAt time.Time

	leaseMu  sync.Mutex
	lease    *plan.Lease
	floorsOf uint64 // the lease that said them

	strangers strangers
}

// uploadsAtOnce is how many objects are created at a time, so that one large log does not
// hold up the others.
const uploadsAtOnce = 4

// New returns the archive in a bucket, which it closes. It reads what it knew of the
// bucket from the disk, and asks nobody yet.
func New(c Config, b bucket.Bucket, logger *slog.Logger) *Archive {
	logger = logger.With("bucket", b.String())
	a := &Archive{
		config: c, bucket: b, logger: logger, metrics: newMetrics(),
		health:   health{logger: logger, least: min(leastPause, c.Interval)},
		filled:   make(chan struct{}),
		uploads:  make(chan struct{}, uploadsAtOnce),
		uploader: map[segment.LogID]*uploader{}, floors: map[segment.LogID]uint64{},
		lease: plan.NewLease(time.Now(), c.leaseTime()),
	}
	a.lifetime, a.end = context.WithCancel(context.Background())
	a.catalogue = newCatalogue(a)
	a.reader = newReader(a)
	if c.Folder != "" {
		a.catalogue.file = filepath.Join(c.Folder, catalogueName)
		if err := a.catalogue.load(); err != nil {
			logger.Warn("what was known of the bucket cannot be read, and is found out again", "err", err)
		}
	}
	return a
}

// leaseTime is shorter with a short interval, in tests.
func (c *Config) leaseTime() time.Duration { return min(leaseTime, listEvery*c.Interval) }

func (c *Config) listEvery() time.Duration {
	if c.ReadOnly {
		return listEveryRelay * c.Interval
	}
	return listEvery * c.Interval
}

// Serve says whose logs it keeps. What is known of the bucket goes to them.
func (a *Archive) Serve(replicas *replica.Set) {
	a.replicas = replicas
	replicas.SetListed(a.catalogue.loaded)
	a.catalogue.publishAll()
}

// Close ends reads, and closes the bucket.
func (a *Archive) Close() error {
	a.end()
	return a.bucket.Close()
}

// Run fills the server, if it is to be filled, and then uploads, lists and retains until
// ctx ends.
func (a *Archive) Run(ctx context.Context) error {
	a.start(ctx)
	var running sync.WaitGroup
	running.Go(func() { a.listAll(ctx) })
	if !a.config.ReadOnly {
		running.Go(func() { a.uploadAll(ctx) })
		running.Go(func() { a.fillUnfed(ctx) })
	}
	running.Wait()
	return nil
}

// Filled is closed when the server has what it takes from the bucket before it serves.
func (a *Archive) Filled() <-chan struct{} { return a.filled }

// Filling says that it has not yet.
func (a *Archive) Filling() bool {
	select {
	case <-a.filled:
		return false
	default:
		return true
	}
}

// start lists the bucket for the first time, and fills the server, in a bounded time.
func (a *Archive) start(ctx context.Context) {
	defer close(a.filled)
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	if _, err := a.catalogue.refresh(ctx); err != nil || a.config.ReadOnly {
		return
	}
	a.fill(ctx)
}

// listAll lists the bucket at an interval, and applies its retention.
func (a *Archive) listAll(ctx context.Context) {
	tick := time.NewTicker(a.config.listEvery())
	defer tick.Stop()
	for again := !a.catalogue.isListed(); ; again = !a.catalogue.isListed() {
		if again { // It has not succeeded yet.
			if a.health.wait(ctx) != nil {
				return
			}
		} else {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		l, err := a.catalogue.refresh(ctx)
		if err != nil {
			continue
		}
		if a.config.ReadOnly {
			continue
		}
		if err := a.retain(ctx, l); err != nil && ctx.Err() == nil {
			a.logger.Warn("retention of the bucket goes on later", "err", err)
		}
	}
}
