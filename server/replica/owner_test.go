package replica

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/seglog"
)

// To whom logs belong is known while one of them is being opened, which may take long, and
// after a restart.
func TestOwnersAreKnownWithoutTheLock(t *testing.T) {
	dir := t.TempDir()
	id, nobodys := writeLog(t, dir, time.Now()), writeLog(t, dir, time.Now())
	names := []string{"a", "b"}
	for _, known := range []bool{false, true} {
		store, err := seglog.OpenStore(dir, seglog.Options{})
		require.NoError(t, err)
		rs, err := Open(store, nil, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		rs.mu.Lock()
		if known {
			require.Equal(t, names, rs.Get(id).Owners())
		} else {
			require.Empty(t, rs.Get(id).Owners())
			require.NoError(t, rs.setOwner(rs.Get(id), names))
			require.Equal(t, names, rs.Get(id).Owners())
		}
		require.Empty(t, rs.Get(nobodys).Owners())
		rs.mu.Unlock()
		require.NoError(t, rs.Close())
		require.NoError(t, store.Close())
	}
}
