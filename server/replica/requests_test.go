package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// The newest requests are known, and nothing is kept of an only log.
func TestRequestWindow(t *testing.T) {
	store, err := seglog.OpenStore(t.TempDir(), seglog.Options{})
	require.NoError(t, err)
	defer store.Close()
	files, err := store.OpenMirror(segment.NewLogID(), head.New())
	require.NoError(t, err)
	defer files.Close()
	number := func(n uint64) digest { return digest{1, byte(n), byte(n >> 8), byte(n >> 16)} }
	var q requests
	note := func(n uint64) { q.add(&segment.Block{Sequence: n, Digest: number(n)}) }
	for n := uint64(1); n <= 10; n++ {
		note(n)
	}
	require.Nil(t, q.kept.Load())
	require.NoError(t, q.load(files.Log()))
	const last = 10 + 2*seglog.RepeatWindow
	for n := uint64(11); n <= last; n++ {
		note(n)
	}
	require.Len(t, q.kept.Load().stored, seglog.RepeatWindow)
	for _, n := range []uint64{last, last - seglog.RepeatWindow + 1} {
		at, ok := q.kept.Load().Find(number(n))
		require.True(t, ok)
		require.Equal(t, n, at.Sequence)
	}
	_, ok := q.kept.Load().Find(number(last - seglog.RepeatWindow))
	require.False(t, ok)
	_, ok = q.kept.Load().Find(digest{})
	require.False(t, ok, "no digest is not one")

	// The first block of a request counts, for as long as it is in the window.
	q.add(&segment.Block{Sequence: last + 1, Digest: number(last)})
	at, _ := q.kept.Load().Find(number(last))
	require.Equal(t, uint64(last), at.Sequence)
}
