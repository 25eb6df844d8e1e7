package probe

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The clock says what the kernel's account of this process does.
func TestCPU(t *testing.T) {
	account := func() time.Duration {
		var u unix.Rusage
		require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	const rounding = 2 * time.Microsecond // user and system time are whole microseconds there
	before := account()
	used, err := CPU(os.Getpid())
	require.NoError(t, err)
	require.GreaterOrEqual(t, used, before)
	require.LessOrEqual(t, used, account()+rounding)

	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	_, err = CPU(ended.Process.Pid)
	require.Error(t, err)
}

func TestThisProcess(t *testing.T) {
	peak, err := Peak(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, peak, int64(1<<20))
	busy, err := Busy()
	require.NoError(t, err)
	require.Positive(t, busy)
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b"), make([]byte, 1000), 0o644))
	require.NoError(t, os.Symlink("a/b", filepath.Join(dir, "latest")))
	size, err := Disk(dir)
	require.NoError(t, err)
	require.EqualValues(t, 1000, size)
}
