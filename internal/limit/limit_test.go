package limit_test

import (
	"sync"
	"testing"

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
