package broadcast

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func woken(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestWakesAllWhoWait(t *testing.T) {
	var s Signal
	s.Wake() // Nobody waits.
	first, second := s.Next(), s.Next()
	require.False(t, woken(first), "an earlier call wakes nobody who comes later")
	s.Wake()
	require.True(t, woken(first))
	require.True(t, woken(second))
	later := s.Next()
	require.False(t, woken(later))
	s.Wake()
	s.Wake()
	require.True(t, woken(later))
}

// TestNoChangeIsMissed has waiters follow a number that changes all the time: one that
// missed its last change would wait without end.
func TestNoChangeIsMissed(t *testing.T) {
	const last, waiters = 1000, 4
	var s Signal
	var number atomic.Int64
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			for {
				next := s.Next()
				if number.Load() == last {
					return
				}
				<-next
			}
		})
	}
	for range last {
		number.Add(1)
		s.Wake()
	}
	wg.Wait()
}

func TestCostsNothingWhileNobodyWaits(t *testing.T) {
	var s Signal
	require.Zero(t, testing.AllocsPerRun(100, s.Wake))
}
