package torture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// diskSize is what a store may take.
const diskSize = 128 << 20

// What a small filesystem is made of.
const (
	memory = "tmpfs"
	image  = "ext4" // in a file, which writes late and may fail at a sync
)

// mount a new filesystem on a new folder.
func mount(path, made string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	if made == memory {
		return command("mount", "-t", "tmpfs", "-o", fmt.Sprint("size=", diskSize), "tmpfs", path)
	}
	file := path + ".image"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(file, diskSize); err != nil {
		return err
	}
	if err := command("mkfs.ext4", "-q", "-m", "0", file); err != nil {
		return err
	}
	return command("mount", "-o", "loop", file, path)
}

// unmount, and wait a little for the files of processes that were killed.
func unmount(path string) (err error) {
	for range 20 {
		if err = command("umount", path); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return nil
}

// disk is a small filesystem, which can be filled. A nil disk is never full.
type disk struct {
	path    string
	ballast string
	full    bool
	until   time.Time // when it was freed last
}

// mountDisk makes a small filesystem for a test.
func mountDisk(t testing.TB, path, made string) *disk {
	t.Helper()
	if err := mount(path, made); err != nil {
		t.Fatalf("-disks takes root, and loop devices: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(path); err != nil {
			t.Error(err)
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
	d.full = true
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(d.path, &s); err != nil {
			return err
		}
		size := int64(s.Bavail)*s.Bsize - int64(leave)
		if size <= 0 {
			return nil
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		// The process may have taken what was free just now.
		if err := syscall.Fallocate(int(f.Fd()), 0, info.Size(), size); !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
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
