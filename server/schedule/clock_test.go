package schedule

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// began is when the logs of the tests began, in ms.
	began = int64(1000000)
	// never is how long a log may be silent where that must not matter.
	never = time.Hour
)

// forwarder writes a log, and feeds sets with it.
type forwarder struct {
	t      *testing.T
	writer *seglog.Writer
	state  *head.Head
}

func newForwarder(t *testing.T) *forwarder {
	t.Helper()
	o := seglog.DefaultOptions()
	o.Sync, o.Now, o.Logger = seglog.SyncNever, func() time.Time { return time.UnixMilli(began) }, slog.New(slog.DiscardHandler)
	store, err := seglog.OpenStore(t.TempDir(), o)
	require.NoError(t, err)
	f := &forwarder{t: t, state: head.New()}
	f.writer, err = store.OpenWriter(f.state)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.writer.Close())
		require.NoError(t, store.Close())
	})
	return f
}

// tick appends an empty block.
func (f *forwarder) tick(ms int64) {
	f.t.Helper()
	b := &segment.Block{Time: ms}
	sequence, err := f.writer.Append(b)
	require.NoError(f.t, err)
	b.Sequence = sequence
	require.NoError(f.t, f.state.ApplyBlock(b))
	require.NoError(f.t, f.writer.WaitDurable(sequence))
}

func (f *forwarder) id() segment.LogID { return f.writer.Log().ID() }

// feeder is the connection of a forwarder to a set.
type feeder struct{ *replica.Feeding }

func (feeder) Interrupt()                     {}
func (feeder) Gap(gap *seglog.GapError) error { return gap }

// connect connects it to a set, which knows how far the log has come.
func (f *forwarder) connect(rs *replica.Set) *feeder {
	f.t.Helper()
	c := &feeder{}
	var err error
	c.Feeding, err = rs.Lease(f.t.Context(), f.id(), replica.Source{Feeder: c})
	require.NoError(f.t, err)
	c.SetTail(f.writer.Log().Last())
	return c
}

// bring brings all blocks that there are.
func (f *forwarder) bring(rs *replica.Set, to *feeder) {
	f.t.Helper()
	sequence, _, _ := to.Position()
	more := func(after uint64) bool { return after < f.writer.Log().Last() }
	require.NoError(f.t, logship.Send(f.t.Context(), f.writer.Log(), sequence, to, logship.Options{More: more}))
	rs.Updates.Wake()
}

func openSet(t *testing.T, dir string) *replica.Set {
	t.Helper()
	o := seglog.DefaultOptions()
	o.Sync, o.RetentionTime, o.Logger = seglog.SyncNever, 0, slog.New(slog.DiscardHandler)
	store, err := seglog.OpenStore(dir, o)
	require.NoError(t, err)
	rs, err := replica.Open(store, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(sync.OnceFunc(func() {
		require.NoError(t, rs.Close())
		require.NoError(t, store.Close())
	}))
	return rs
}

func requirePassed(t *testing.T, c *Clock, want int64) {
	t.Helper()
	passed, ok := c.Passed()
	require.True(t, ok)
	require.Equal(t, want, passed)
}

func TestNoLog(t *testing.T) {
	c := NewClock(NewLogs(openSet(t, t.TempDir()), never, 0))
	_, ok := c.Passed()
	require.False(t, ok)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Wait(ctx, math.MinInt64), context.DeadlineExceeded)
}

// Time passes as the slowest log has it; a new log counts from when it began.
func TestSlowestLog(t *testing.T) {
	rs := openSet(t, t.TempDir())
	c := NewClock(NewLogs(rs, never, 0))
	a, b := newForwarder(t), newForwarder(t)
	a.tick(began + 5)
	toA := a.connect(rs)
	defer toA.Release()
	_, ok := c.Passed()
	require.False(t, ok, "the log is not confirmed")
	a.bring(rs, toA)
	requirePassed(t, c, began+5)

	b.tick(began + 2)
	toB := b.connect(rs)
	defer toB.Release()
	b.bring(rs, toB)
	requirePassed(t, c, began+2)
	b.tick(began + 9)
	b.bring(rs, toB)
	requirePassed(t, c, began+5)
	a.tick(began + 9)
	a.bring(rs, toA)
	requirePassed(t, c, began+9)
}

// A log of which a server is getting what it missed holds back what needs it, however
// long nothing comes; one that nobody feeds does so for a while only.
func TestCatchingUp(t *testing.T) {
	rs := openSet(t, t.TempDir())
	c := NewClock(NewLogs(rs, 0, 0)) // Silence counts at once.
	a, b := newForwarder(t), newForwarder(t)
	a.tick(began + 5)
	b.tick(began + 1)
	toA, toB := a.connect(rs), b.connect(rs)
	defer toA.Release()
	a.bring(rs, toA)
	toB.SetTail(3)
	b.bring(rs, toB)
	_, ok := c.Passed()
	require.False(t, ok, "b has not been copied for the first time")
	b.tick(began + 2)
	b.tick(began + 3)
	b.bring(rs, toB)
	requirePassed(t, c, began+5) // Nobody counts, so the latest does.

	b.tick(began + 4)
	b.tick(began + 5)
	toB.SetTail(b.writer.Log().Last())
	requirePassed(t, c, began+3)
	toB.Release()
	requirePassed(t, c, began+5)
	toB = b.connect(rs)
	defer toB.Release()
	requirePassed(t, c, began+3)
	b.bring(rs, toB)
	requirePassed(t, c, began+5)
}

// Who waits is woken when the last log has come to the time, also if that is since one is
// silent and is left out.
func TestWait(t *testing.T) {
	rs := openSet(t, t.TempDir())
	c := NewClock(NewLogs(rs, 2*polled, 0))
	a, b := newForwarder(t), newForwarder(t)
	a.tick(began + 1)
	b.tick(began + 1)
	toA, toB := a.connect(rs), b.connect(rs)
	defer toA.Release()
	a.bring(rs, toA)
	b.bring(rs, toB)
	const waiters = 100
	woken := make(chan int64, waiters)
	var all sync.WaitGroup
	for i := range int64(waiters) {
		all.Go(func() {
			if c.Wait(t.Context(), began+1+i) == nil {
				woken <- began + 1 + i
			}
		})
	}
	require.Equal(t, began+1, <-woken)
	toB.Release()
	// It holds the others back until it is left out.
	for ms := began + 2; ms < began+1+waiters; ms++ {
		a.tick(ms)
		a.bring(rs, toA)
		require.Equal(t, ms, <-woken)
	}
	all.Wait()
}

// Nobody watches for those who have left, and they are not woken.
func TestLeave(t *testing.T) {
	rs := openSet(t, t.TempDir())
	c := NewClock(NewLogs(rs, never, 0))
	a := newForwarder(t)
	a.tick(began + 1)
	to := a.connect(rs)
	defer to.Release()
	a.bring(rs, to)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range int64(20) {
			all.Go(func() { require.ErrorIs(t, c.Wait(ctx, began+2+i), context.Canceled) })
		}
		time.AfterFunc(time.Millisecond, cancel)
		all.Wait()
		require.Eventually(t, func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return !c.watching && len(c.waiters) == 0
		}, time.Minute, time.Millisecond)
	}
	require.NoError(t, c.Wait(t.Context(), began+1))
}

// After a restart nothing is due before the forwarders have come back, except for one
// that was away long before.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	a, b, gone := newForwarder(t), newForwarder(t), newForwarder(t)
	idle := 10 * time.Minute
	func() {
		o := seglog.DefaultOptions()
		o.Sync, o.RetentionTime, o.Logger = seglog.SyncNever, 0, slog.New(slog.DiscardHandler)
		store, err := seglog.OpenStore(dir, o)
		require.NoError(t, err)
		defer store.Close()
		rs, err := replica.Open(store, nil, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		defer rs.Close()
		gone.tick(began + 1)
		a.tick(began + 1 + idle.Milliseconds())
		b.tick(began + 2 + idle.Milliseconds())
		for _, f := range []*forwarder{a, b, gone} {
			to := f.connect(rs)
			f.bring(rs, to)
			to.Release()
		}
	}()
	rs := openSet(t, dir)
	c := NewClock(NewLogs(rs, idle, 0))
	requirePassed(t, c, began+1+idle.Milliseconds())
	b.tick(began + 2*idle.Milliseconds())
	toB := b.connect(rs)
	defer toB.Release()
	b.bring(rs, toB)
	requirePassed(t, c, began+1+idle.Milliseconds())
	// What was gone counts again with the first that comes of it.
	gone.tick(began + 2)
	toGone := gone.connect(rs)
	defer toGone.Release()
	requirePassed(t, c, began+1)
}

// A log that has ended holds nothing back, once what is left of it is here.
func TestEnded(t *testing.T) {
	rs := openSet(t, t.TempDir())
	c := NewClock(NewLogs(rs, never, 0))
	a, b := newForwarder(t), newForwarder(t)
	a.tick(began + 5)
	b.tick(began + 1)
	toA, toB := a.connect(rs), b.connect(rs)
	defer toA.Release()
	defer toB.Release()
	a.bring(rs, toA)
	b.bring(rs, toB)
	requirePassed(t, c, began+1)
	rs.Get(b.id()).EndedBy(time.Now().Add(-time.Hour))
	requirePassed(t, c, began+5)
}

// A keyframe without a block has the time at which it was made.
func TestKeyframeAlone(t *testing.T) {
	rs := openSet(t, t.TempDir())
	c := NewClock(NewLogs(rs, never, 0))
	a := newForwarder(t)
	to := a.connect(rs)
	defer to.Release()
	require.NoError(t, logship.Send(t.Context(), a.writer.Log(), 0, to, logship.Options{More: func(uint64) bool { return len(rs.All()) == 0 }}))
	requirePassed(t, c, began)
}

// A server that was just started does not know yet which logs there are.
func TestSettle(t *testing.T) {
	rs := openSet(t, t.TempDir())
	c := NewClock(NewLogs(rs, never, never))
	a := newForwarder(t)
	a.tick(began + 1)
	to := a.connect(rs)
	defer to.Release()
	a.bring(rs, to)
	_, ok := c.Passed()
	require.False(t, ok)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.Error(t, c.Wait(ctx, math.MinInt64))
	c = NewClock(NewLogs(rs, never, 2*polled))
	require.NoError(t, c.Wait(t.Context(), began+1))
	requirePassed(t, c, began+1)
}

func TestAlign(t *testing.T) {
	for _, c := range []struct{ ms, step, want int64 }{
		{0, 10, 0}, {1, 10, 10}, {9, 10, 10}, {10, 10, 10}, {11, 10, 20}, {-1, 10, 0}, {-10, 10, -10}, {-11, 10, -10},
	} {
		require.Equal(t, c.want, Align(c.ms, c.step), "%d by %d", c.ms, c.step)
	}
}
