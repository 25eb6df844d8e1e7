//go:build unix

package seglog

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/promgrpc/exporter/internal/private"
)

// lockFile takes an exclusive lock that ends with the process.
func lockFile(name string) (*os.File, error) {
	f, err := private.OpenOrCreate(name)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}
