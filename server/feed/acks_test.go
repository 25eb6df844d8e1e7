package feed

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAcksWaitForEachOther sees that a forwarder which does not read is told once,
// and of all that has come in the meantime afterwards.
func TestAcksWaitForEachOther(t *testing.T) {
	var told atomic.Int64
	block := make(chan struct{})
	a := newAcks(func() {
		told.Add(1)
		<-block
	})
	defer a.stop()
	for range 20 {
		a.next()
		time.Sleep(ackEvery)
	}
	require.EqualValues(t, 1, told.Load())
	close(block)
	require.Eventually(t, func() bool { return told.Load() == 2 }, 10*time.Second, time.Millisecond)
	a.next()
	require.Eventually(t, func() bool { return told.Load() == 3 }, 10*time.Second, time.Millisecond)
}
