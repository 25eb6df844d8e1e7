package limit_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
)

func refused(t *testing.T, err error) *limit.Error {
	t.Helper()
	var over *limit.Error
	require.ErrorAs(t, err, &over)
	require.Equal(t, "bytes-of-tests", over.Name)
	require.Contains(t, err.Error(), "--limit.bytes-of-tests")
	return over
}

func TestErrors(t *testing.T) {
	over := refused(t, limit.Over("--limit.bytes-of-tests", "%d is too much", 3))
	require.Equal(t, "3 is too much (--limit.bytes-of-tests)", over.Error())
	require.False(t, over.Passing)
	require.True(t, refused(t, limit.Busy("--limit.bytes-of-tests", "later")).Passing)
}

func TestBudget(t *testing.T) {
	b := limit.NewBudget("--limit.bytes-of-tests", "bytes", 100, 60)
	one, other := b.Hold("one"), b.Hold("other")
	require.NoError(t, one.Resize(50))
	require.NoError(t, one.Grow(10))

	require.False(t, refused(t, one.Grow(1)).Passing, "more than a share is refused every time")
	require.EqualValues(t, 60, one.Held(), "what was refused changed nothing")
	require.True(t, refused(t, b.Hold("one").Grow(1)).Passing, "the share is the peer's, not the call's")

	require.True(t, refused(t, other.Resize(41)).Passing, "the total")
	require.NoError(t, other.Resize(40))
	require.EqualValues(t, 100, b.Used())

	require.NoError(t, one.Resize(5))
	require.NoError(t, other.Resize(60))
	one.Release()
	one.Release()
	other.Release()
	require.Zero(t, b.Used())
	require.NoError(t, b.Hold("one").Resize(60), "all of it was given back")
}

func TestBudgetWithoutShares(t *testing.T) {
	b := limit.NewBudget("--limit.bytes-of-tests", "bytes", 10, 0)
	require.NoError(t, b.Hold("one").Resize(10))
}

// TestWait checks that waiters are served in turn, that a peer with its share keeps
// nobody back, and that a waiter that leaves does not either.
func TestWait(t *testing.T) {
	b := limit.NewBudget("--limit.bytes-of-tests", "bytes", 100, 60)
	ctx := t.Context()
	first := b.Hold("one")
	require.NoError(t, first.Wait(ctx, 60))
	require.False(t, refused(t, first.Wait(ctx, 1)).Passing, "more than a share")

	// wait lines up and returns a channel that tells how it ended.
	wait := func(ctx context.Context, peer string, n int64) (*limit.Hold, <-chan error) {
		h, before := b.Hold(peer), b.Waiting()
		ended := make(chan error, 1)
		go func() { ended <- h.Wait(ctx, n) }()
		require.Eventually(t, func() bool { return b.Waiting() > before || len(ended) > 0 }, 10*time.Second, time.Millisecond)
		return h, ended
	}
	_, ofSame := wait(ctx, "one", 10)
	other, done := wait(ctx, "other", 30)
	require.NoError(t, <-done, "whose peer has none of it is not kept back by one whose peer has its share")
	leaving, cancel := context.WithCancel(ctx)
	_, left := wait(leaving, "other", 20)
	late, ofLate := wait(ctx, "third", 10)
	require.Empty(t, ofLate, "it would fit, but one came before")
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
	require.NoError(t, <-ofLate, "which does not keep it back any more")
	require.Empty(t, ofSame)
	first.Release()
	require.NoError(t, <-ofSame)
	require.EqualValues(t, 30, other.Held())
	require.EqualValues(t, 10, late.Held())
	require.EqualValues(t, 50, b.Used())
	require.Zero(t, b.Waiting())
}

// A peer that comes while another has many waiting is next but one, also if it
// comes again and again; and none of those many is skipped each time.
func TestPeersTakeTurns(t *testing.T) {
	b := limit.NewBudget("--limit.bytes-of-tests", "bytes", 1, 0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	served := make(chan *limit.Hold, 8)
	peers := map[*limit.Hold]string{}
	wait := func(peer string) {
		h := b.Hold(peer)
		peers[h] = peer
		before := b.Waiting()
		go func() {
			if assert.NoError(t, h.Wait(ctx, 1)) {
				served <- h
			}
		}()
		require.Eventually(t, func() bool { return b.Waiting() > before }, 10*time.Second, time.Millisecond)
	}
	first := b.Hold("first")
	require.NoError(t, first.Wait(ctx, 1))
	for range 3 {
		wait("many")
	}
	wait("one")
	first.Release()
	for _, want := range []string{"many", "one", "many", "one", "many", "one"} {
		h := <-served
		require.Equal(t, want, peers[h])
		if want == "one" && b.Waiting() > 0 {
			wait("one")
		}
		h.Release()
	}
	require.Zero(t, b.Used())
}

// TestWaitOfMany checks that all that wait are served and nothing is lost.
func TestWaitOfMany(t *testing.T) {
	const total = 100
	b := limit.NewBudget("--limit.bytes-of-tests", "bytes", total, total/2)
	var held atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 300 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.N(2000))*time.Microsecond)
				if j%3 > 0 {
					cancel()
					ctx, cancel = context.WithCancel(t.Context())
				}
				h, n := b.Hold(string(rune('a'+i%4))), 1+rand.N(int64(total/2))
				if err := h.Wait(ctx, n); err == nil {
					assert.LessOrEqual(t, held.Add(n), int64(total))
					held.Add(-n)
				}
				h.Release()
				cancel()
			}
		})
	}
	wg.Wait()
	require.Zero(t, b.Used())
	require.Zero(t, b.Waiting())
}

func TestBudgetOfMany(t *testing.T) {
	b := limit.NewBudget("--limit.bytes-of-tests", "bytes", 1000, 400)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 1000 {
				h := b.Hold(string(rune('a' + i%4)))
				for h.Grow(17) == nil {
				}
				h.Release()
			}
		})
	}
	wg.Wait()
	require.Zero(t, b.Used())
}
