package torture

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// diskSize is what a store may take.
const diskSize = "128m"

// canMount says whether small filesystems are to be had.
func canMount() bool {
	dir, err := os.MkdirTemp("", "torture-mount-")
	if err != nil {
		return false
	}
	defer func() { _ = os.Remove(dir) }()
	if exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir).Run() != nil {
		return false
	}
	return exec.Command("umount", dir).Run() == nil
}

// disk is a small filesystem, which can be filled. A nil disk is never full.
type disk struct {
	path    string
	ballast string
	full    bool
	until   time.Time // when it was freed last
}

func mountDisk(t testing.TB, path string) *disk {
	t.Helper()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+diskSize, "tmpfs", path).CombinedOutput(); err != nil {
		t.Fatalf("mount %s: %v: %s", path, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", path).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", path, err, out)
		}
	})
	return &disk{path: path, ballast: filepath.Join(path, "ballast")}
}

// fill leaves so many bytes free, by whole pages.
func (d *disk) fill(leave int) error {
	if d == nil || d.full {
		return errors.New("no disk to fill")
	}
	f, err := os.Create(d.ballast)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.path, &s); err != nil {
		return err
	}
	d.full = true
	size := int64(s.Bavail)*s.Bsize - int64(leave)
	if size > 0 {
		return syscall.Fallocate(int(f.Fd()), 0, 0, size)
	}
	return nil
}

func (d *disk) free() {
	if d == nil || !d.full {
		return
	}
	_ = os.Remove(d.ballast)
	d.full, d.until = false, time.Now()
}

// wasFull says whether a process may have met a full disk lately.
func (d *disk) wasFull() bool {
	return d != nil && (d.full || time.Since(d.until) < 3*time.Second)
}
