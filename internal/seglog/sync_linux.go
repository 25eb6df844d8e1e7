package seglog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync leaves out the file's times, which saves a write of its inode when
// its size has not changed.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			if err != nil {
				return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
			}
			return nil
		}
	}
}
