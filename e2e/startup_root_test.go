//go:build root

package e2e

import (
	"os"
	"os/exec"
	"testing"
)

// TestReadOnlyFolder is TestBadFolder on a file system that only root can make.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	testBadFolders(t, []badFolder{{"read-only", "read-only file system", func(t *testing.T, _ store, path string) []string {
		succeed(t, os.Mkdir(path, 0o755))
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", path).CombinedOutput(); err != nil {
			t.Fatalf("mount: %v: %s", err, out)
		}
		t.Cleanup(func() { run(t, nil, "umount", path) })
		return nil
	}}})
}
