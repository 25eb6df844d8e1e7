package cli

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestReaderGoes follows a quiet stream for a reader that reads one line, as
// "head -1" does, from a pipe and from a socket.
func TestReaderGoes(t *testing.T) {
	for name, ends := range map[string]func(*testing.T) (read, write *os.File){
		"pipe": func(t *testing.T) (*os.File, *os.File) {
			read, write, err := os.Pipe()
			require.NoError(t, err)
			return read, write
		},
		"socket": func(t *testing.T) (*os.File, *os.File) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			require.NoError(t, err)
			unix.CloseOnExec(pair[0])
			unix.CloseOnExec(pair[1])
			return os.NewFile(uintptr(pair[0]), "read"), os.NewFile(uintptr(pair[1]), "write")
		},
	} {
		for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "cursor")
				writeFile(t, path, cursorRecord("c0"))
				read, write := ends(t)
				var stderr bytes.Buffer
				cmd := exec.CommandContext(t.Context(), os.Args[0], "get", "-f", "-a", following().Start(t), "--protocol", protocol, "--cursor-file", path)
				cmd.Env = append(os.Environ(), asProgram+"=yes")
				cmd.Stdout, cmd.Stderr = write, &stderr
				require.NoError(t, cmd.Start())
				require.NoError(t, write.Close())
				line := make([]byte, len("up 1 1700000000123\n"))
				_, err := io.ReadFull(read, line)
				require.NoError(t, err)
				require.NoError(t, read.Close())
				timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
				defer timer.Stop()
				require.NoError(t, cmd.Wait())
				require.Empty(t, stderr.String())
				require.Equal(t, cursorRecord("c0"), content(t, path), "what may not have been read does not count")
			})
		}
	}
}
