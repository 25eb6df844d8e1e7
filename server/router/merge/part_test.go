package merge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/router/raw"
)

// What a server sends to a slow client's stream waits in the transport: it counts as well.
func TestWhatWaitsForASlowClientCounts(t *testing.T) {
	p := newPart(nil)
	p.body = make([]byte, mostJoined)
	p.in.add(response{series: p.body})
	waited := make(chan error, 1)
	go func() {
		waited <- p.await(t.Context(), len(p.body))
		p.mu.Unlock()
	}()
	require.Eventually(t, func() bool { return p.bytes() >= int64(2*len(p.body)+raw.Window) }, time.Minute, time.Millisecond)
	out := newJoined()
	_, err := p.take(&out)
	require.NoError(t, err)
	require.NoError(t, <-waited)
	require.Less(t, p.bytes(), int64(len(p.body)+raw.Window))
}
