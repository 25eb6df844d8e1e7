package bucket_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/bucket"
)

// TestFolderOfOthers checks that what a file system or others have put into the folder of a
// bucket does not keep it from being listed.
func TestFolderOfOthers(t *testing.T) {
	path := t.TempDir()
	b, err := bucket.Open(t.Context(), path, bucket.Options{})
	require.NoError(t, err)
	create(t, b, "log/object", "content")
	found := filepath.Join(path, "lost+found")
	require.NoError(t, os.Mkdir(found, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(found, "#12"), nil, 0o600))
	require.NoError(t, os.Chmod(found, 0))
	t.Cleanup(func() { _ = os.Chmod(found, 0o700) }) // for the folder to be removed
	require.NoError(t, os.Symlink("loop", filepath.Join(path, "loop")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(path, "log", "link")))
	require.NoError(t, os.Symlink("..", filepath.Join(path, "log", "up")))
	assert.Equal(t, []string{"log/object"}, list(t, b, ""))
}
