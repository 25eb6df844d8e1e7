package replica

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// A folder with more logs than there are places for, as after a retirement for which the
// disk was too full, keeps no server from starting. One that finds a place later is as it
// was, whoever comes with it and does not go on.
func TestMoreLogsThanPlaces(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	for range cursor.MaxLogs + 1 {
		writeLog(t, dir, now)
	}
	store, err := seglog.OpenStore(dir, seglog.Options{})
	require.NoError(t, err)
	defer store.Close()
	rs, err := Open(store, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer rs.Close()
	require.Len(t, rs.All(), cursor.MaxLogs)
	require.ErrorContains(t, rs.Check(), "the most that it may")

	var left segment.LogID
	for _, id := range store.Logs() {
		if rs.Get(id) == nil {
			left = id
		}
	}
	_, err = rs.Lease(t.Context(), left, Source{Feeder: &feeder{}})
	require.ErrorContains(t, err, "the most that it may")
	rs.mu.Lock()
	require.NoError(t, rs.retire(rs.All()[0]))
	rs.mu.Unlock()
	f, err := rs.Lease(t.Context(), left, Source{Feeder: &feeder{}})
	require.NoError(t, err)
	f.Release()
	require.NotNil(t, rs.Get(left))
	require.Contains(t, store.Logs(), left)
	require.True(t, rs.Get(left).Serving())
}
