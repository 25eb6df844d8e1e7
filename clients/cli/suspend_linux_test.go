package cli

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSuspend presses Ctrl-Z while a table is shown, under a shell that then runs its
// next command.
func TestSuspend(t *testing.T) {
	address := following().Start(t)
	terminal := newTerminal(t, "/bin/sh", "-c", `set -m; "$0" get --watch --address "$1"; echo between; fg; echo "ended with $?"`, os.Args[0], address)
	terminal.expect(enterScreen)
	terminal.expect("live, ")
	terminal.press('Z')
	terminal.expect(leaveScreen)
	terminal.expect("between")
	terminal.expect(enterScreen)
	terminal.expect("live, ")
	terminal.press('C')
	terminal.expect(leaveScreen)
	terminal.expect("ended with 0")
}

// TestSuspendWithoutShell does the same where no shell could continue it.
func TestSuspendWithoutShell(t *testing.T) {
	address := following().Start(t)
	terminal := newTerminal(t, os.Args[0], "get", "--watch", "--address", address)
	terminal.expect("live, ")
	terminal.press('Z')
	terminal.expect("live, ")
	terminal.press('C')
	require.NotContains(t, terminal.expect(leaveScreen), enterScreen)
}

// terminal is a terminal that a program runs in.
type terminal struct {
	t    *testing.T
	keys *os.File
	cmd  *exec.Cmd
	// shown is the output that expect has not consumed.
	shown string
}

func newTerminal(t *testing.T, program string, args ...string) *terminal {
	t.Helper()
	// Not blocking, so that reads can have deadlines.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	keys := os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { _ = keys.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	screen, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer func() { _ = screen.Close() }()

	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), asProgram+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	// Under nohup the program would start with SIGHUP ignored, but not if this process handles it.
	taken := make(chan os.Signal, 1)
	signal.Notify(taken, syscall.SIGHUP)
	defer signal.Stop(taken)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		// Other processes of the session end too.
		_ = keys.Close()
		_ = cmd.Wait()
	})
	return &terminal{t: t, keys: keys, cmd: cmd}
}

// hangUp closes the terminal, and returns the exit code of the program.
func (x *terminal) hangUp() int {
	x.t.Helper()
	require.NoError(x.t, x.keys.Close())
	timer := time.AfterFunc(20*time.Second, func() { _ = x.cmd.Process.Kill() })
	defer timer.Stop()
	_ = x.cmd.Wait() // an error if the code is not 0
	return x.cmd.ProcessState.ExitCode()
}

// press presses Ctrl and a key.
func (x *terminal) press(key byte) {
	x.t.Helper()
	_, err := x.keys.Write([]byte{key - '@'})
	require.NoError(x.t, err)
}

// expect waits for a text, and returns the output before it.
func (x *terminal) expect(text string) string {
	x.t.Helper()
	end := time.Now().Add(20 * time.Second)
	for buf := make([]byte, 4096); ; {
		if before, after, found := strings.Cut(x.shown, text); found {
			x.shown = after
			return before
		}
		require.NoError(x.t, x.keys.SetReadDeadline(end))
		n, err := x.keys.Read(buf)
		x.shown += string(buf[:n])
		require.NoError(x.t, err, "%q was to come, this did: %q", text, x.shown)
	}
}
