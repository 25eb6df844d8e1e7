package feed

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAcksWaitForEachOther checks that a forwarder which does not read is sent one
// position, and later one that covers all that came meanwhile.
func TestAcksWaitForEachOther(t *testing.T) {
	var sent atomic.Int64
	block := make(chan struct{})
	a := newAcks(func() {
		sent.Add(1)
		<-block
	})
	defer func() { require.NoError(t, a.end()) }()
	for range 20 {
		a.schedule()
		time.Sleep(ackEvery)
	}
	require.EqualValues(t, 1, sent.Load())
	close(block)
	require.Eventually(t, func() bool { return sent.Load() == 2 }, 30*time.Second, time.Millisecond)
	a.schedule()
	require.Eventually(t, func() bool { return sent.Load() == 3 }, 30*time.Second, time.Millisecond)
}
