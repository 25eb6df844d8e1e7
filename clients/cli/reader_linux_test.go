package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTerminalHangsUp hangs up on a program that ignores SIGHUP, as with nohup.
func TestTerminalHangsUp(t *testing.T) {
	for _, flag := range []string{"--follow", "--watch"} {
		t.Run(flag, func(t *testing.T) {
			terminal := newTerminal(t, "/bin/sh", "-c", `trap "" HUP; exec "$0" get "$2" --address "$1"`, os.Args[0], following().Start(t), flag)
			terminal.expect("up")
			require.Equal(t, ExitOK, terminal.hangUp())
		})
	}
}

// TestHangUpKeepsTheCursor has a file as output.
func TestHangUpKeepsTheCursor(t *testing.T) {
	folder := t.TempDir()
	cursor, out := filepath.Join(folder, "cursor"), filepath.Join(folder, "out")
	terminal := newTerminal(t, "/bin/sh", "-c", `exec "$0" get --follow --address "$1" --cursor-file "$2" >"$3"`,
		os.Args[0], following().Start(t), cursor, out)
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(out)
		return len(b) > 0
	}, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, ExitOK, terminal.hangUp())
	require.Equal(t, cursorRecord("c1"), content(t, cursor))
}
