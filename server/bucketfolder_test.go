package server_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server"
)

// TestBucketIsNotTheStorage checks that neither a server's own storage folder nor another
// store is taken for a bucket: they have the same layout.
func TestBucketIsNotTheStorage(t *testing.T) {
	other := t.TempDir()
	store, err := seglog.OpenStore(other, seglog.Options{})
	require.NoError(t, err)
	require.NoError(t, store.Close())
	config := testConfig(t)
	logger := slog.New(slog.DiscardHandler)
	for name, url := range map[string]string{
		"itself":       config.StoragePath,
		"by a URL":     "file://" + config.StoragePath,
		"another":      other,
		"by other way": filepath.Join(config.StoragePath, "sub", ".."),
	} {
		t.Run(name, func(t *testing.T) {
			c := config
			c.BucketURL = url
			_, err := server.New(c, logger, nil)
			var mistake *usage.Error
			require.ErrorAs(t, err, &mistake)
			require.ErrorContains(t, err, "is a storage folder")
		})
	}
	t.Run("not there yet", func(t *testing.T) {
		c := config
		c.StoragePath = filepath.Join(t.TempDir(), "new")
		c.BucketURL = c.StoragePath
		_, err := server.New(c, logger, nil)
		require.ErrorContains(t, err, "is a storage folder")
	})
}
