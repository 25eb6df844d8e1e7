//go:build root

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
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

const (
	nobody  = 65534
	planted = "another user may have planted it"
)

// TestPlantedFolder is TestBadFolder in a place such as /tmp, where another user made
// the folder, or a link to one, before the program was started.
func TestPlantedFolder(t *testing.T) {
	t.Parallel()
	testBadFolders(t, []badFolder{
		{"a folder of another user", planted, func(t *testing.T, _ store, path string) []string {
			succeed(t, os.Chmod(filepath.Dir(path), 0o777|os.ModeSticky))
			succeed(t, os.Mkdir(path, 0o755))
			succeed(t, os.Chown(path, nobody, nobody))
			return nil
		}},
		{"a link of another user", planted, func(t *testing.T, _ store, path string) []string {
			succeed(t, os.Chmod(filepath.Dir(path), 0o777|os.ModeSticky))
			succeed(t, os.Symlink(t.TempDir(), path))
			succeed(t, os.Lchown(path, nobody, nobody))
			return nil
		}},
	})
}

// TestPlantedCursorFile has a client start with a cursor file that another user has
// planted in a place such as /tmp, as a link to a file of the client's user.
func TestPlantedCursorFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tmp")
	succeed(t, os.Mkdir(dir, 0o755))
	succeed(t, os.Chmod(dir, 0o777|os.ModeSticky))
	for name, target := range map[string]string{"file": filepath.Join(t.TempDir(), "empty"), "nothing": filepath.Join(t.TempDir(), "nothing")} {
		if name == "file" {
			succeed(t, os.WriteFile(target, nil, 0o600))
		}
		link := filepath.Join(dir, name)
		succeed(t, os.Symlink(target, link))
		succeed(t, os.Lchown(link, nobody, nobody))
		out, err := exec.Command(harness.Binary(t, "prometheus-grpc-client"), "get", "--address=127.0.0.1:1", "--cursor-file="+link).CombinedOutput()
		if err == nil || !strings.Contains(string(out), planted) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		info, err := os.Stat(target)
		if name == "file" && (err != nil || info.Size() != 0) || name == "nothing" && !os.IsNotExist(err) {
			t.Errorf("%s: the target was changed: %v", name, err)
		}
	}
}
