package replica

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

type feeder struct{ interrupted bool }

func (f *feeder) Interrupt() { f.interrupted = true }

// A connection that gives up waiting for the lease does not count as feeding.
func TestLeaseThatIsNotAwaited(t *testing.T) {
	l := newLease()
	first, second := &feeder{}, &feeder{}
	require.True(t, l.acquire(t.Context(), first))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, l.acquire(ended, second))
	require.True(t, first.interrupted)
	l.release(first)
	require.False(t, l.held())
	require.True(t, l.acquire(t.Context(), second))
	require.True(t, l.held())
}
