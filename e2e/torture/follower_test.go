package torture

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// heartbeat of the streams: a server that is silent for three times as long is
// left.
const heartbeat = 500 * time.Millisecond

// reading is a client that reads on until it is stopped, and can be started again.
type reading struct {
	t    testing.TB
	name string
	read func(context.Context) error

	down   bool
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// start, at the first time from the beginning, and after that from the cursor.
func (r *reading) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.down = cancel, false
	r.done.Go(func() {
		for ctx.Err() == nil {
			err := r.read(ctx)
			// It was not served before, and servers die here of other reasons than its call.
			if _, suspect := errors.AsType[*promgrpc.SuspectError](err); suspect {
				continue
			}
			if err != nil && ctx.Err() == nil {
				r.t.Errorf("%s: %v", r.name, err)
				time.Sleep(time.Second)
			}
		}
	})
}

// stop as if the process died. What came since the last cursor does not count.
func (r *reading) stop() {
	r.cancel()
	r.done.Wait()
	r.down = true
}

// follower is a client of the Go package that keeps what it received together
// with its cursor, as a consumer would that commits both at once. It has each
// entry once, whatever happens to it.
type follower struct {
	reading
	addresses []string
	selectors []string
	protocol  promgrpc.Protocol
	// moves says that it goes from one address to the next again and again, with its cursor.
	moves bool
	lives int

	mu      sync.Mutex
	kept    history
	entries int
	cursor  string
	pending []*metricsv1.TimeSeries // came since the cursor
	rewinds int
}

// moveEvery is for how long a follower that moves stays.
const moveEvery = 3 * time.Second

func newFollower(t testing.TB, name string, protocol promgrpc.Protocol, addresses, selectors []string) *follower {
	f := &follower{protocol: protocol, addresses: addresses, selectors: selectors, kept: history{}}
	f.reading = reading{t: t, name: name, read: f.follow}
	return f.begin()
}

// newMoving follower.
func newMoving(t testing.TB, name string, protocol promgrpc.Protocol, addresses, selectors []string) *follower {
	f := &follower{protocol: protocol, addresses: addresses, selectors: selectors, kept: history{}, moves: true}
	f.reading = reading{t: t, name: name, read: f.stay}
	return f.begin()
}

func (f *follower) begin() *follower {
	f.start()
	f.t.Cleanup(f.stop)
	return f
}

// stay at one address for a while.
func (f *follower) stay(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, moveEvery)
	defer cancel()
	f.lives++
	if err := f.follow(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// at are the addresses of one life.
func (f *follower) at() []string {
	if f.moves {
		return f.addresses[f.lives%len(f.addresses):][:1]
	}
	return f.addresses
}

func (f *follower) follow(ctx context.Context) error {
	f.mu.Lock()
	f.pending = nil
	f.mu.Unlock()
	client, err := promgrpc.New(f.at(), promgrpc.Options{Protocol: f.protocol, MaxBackoff: time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	q := promgrpc.Selection{Selectors: f.selectors, Follow: true, HeartbeatInterval: heartbeat, Cursor: f.cursor}
	if q.Cursor == "" {
		q.Since = new(time.Now().Add(-time.Hour))
	}
	for u, err := range client.Get(ctx, q) {
		if err != nil {
			return err
		}
		f.take(u)
	}
	return errors.New("a following stream came to its end")
}

func (f *follower) take(u promgrpc.Update) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u.Rewound {
		f.rewinds++
		f.pending = nil
	}
	if gap := u.GetGap(); gap != nil {
		f.t.Errorf("%s: gap after block %d and before %d: %s", f.name, gap.GetAfterSequence(), gap.GetNextSequence(), gap.GetReason())
	}
	f.pending = append(f.pending, u.GetTimeseries()...)
	if u.GetCursor() == "" {
		return
	}
	for _, s := range f.pending {
		f.entries += len(s.GetSamples()) + len(s.GetHistograms()) + len(s.GetExemplars())
		f.kept.add(s)
	}
	f.pending, f.cursor = nil, u.GetCursor()
}

// received counts the entries so far.
func (f *follower) received() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.entries
}

func (f *follower) history() history {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept.clone()
}
