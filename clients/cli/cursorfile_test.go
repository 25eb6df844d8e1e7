package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// entries returns the names in a folder.
func entries(t *testing.T, folder string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// TestCursorFileStaysWhatItIs has files that a rename alone would change.
func TestCursorFileStaysWhatItIs(t *testing.T) {
	for _, tc := range []struct {
		name string
		// lay puts the file in a folder, and returns the path that is given.
		lay   func(t *testing.T, folder string) string
		file  string // where the cursor is afterwards
		names []string
	}{
		{"new", func(*testing.T, string) string { return "cursor" }, "cursor", []string{"cursor"}},
		{"link", func(t *testing.T, folder string) string {
			writeFile(t, filepath.Join(folder, "file"), cursorRecord("c7"))
			require.NoError(t, os.Symlink("file", filepath.Join(folder, "link")))
			return "link"
		}, "file", []string{"file", "link"}},
		{"link to a link in a folder", func(t *testing.T, folder string) string {
			require.NoError(t, os.Mkdir(filepath.Join(folder, "d"), 0o755))
			writeFile(t, filepath.Join(folder, "d", "file"), "")
			require.NoError(t, os.Symlink("file", filepath.Join(folder, "d", "link")))
			require.NoError(t, os.Symlink("d/link", filepath.Join(folder, "link")))
			return "link"
		}, "d/file", []string{"d", "link"}},
		{"link to what is not there yet", func(t *testing.T, folder string) string {
			require.NoError(t, os.Symlink("file", filepath.Join(folder, "link")))
			return "link"
		}, "file", []string{"file", "link"}},
		{"two names", func(t *testing.T, folder string) string {
			writeFile(t, filepath.Join(folder, "one"), cursorRecord("c1234567"))
			require.NoError(t, os.Link(filepath.Join(folder, "one"), filepath.Join(folder, "two")))
			return "one"
		}, "two", []string{"one", "two"}},
		{"left by a run that was killed", func(t *testing.T, folder string) string {
			writeFile(t, filepath.Join(folder, ".cursor.next"), "c")
			return "cursor"
		}, "cursor", []string{"cursor"}},
		{"not to be replaced", func(t *testing.T, folder string) string {
			writeFile(t, filepath.Join(folder, "cursor"), cursorRecord("c1234567"))
			require.NoError(t, os.MkdirAll(filepath.Join(folder, ".cursor.next", "full"), 0o755))
			return "cursor"
		}, "cursor", []string{".cursor.next", "cursor"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, tc.lay(t, folder))
			links := map[string]string{}
			for _, name := range entries(t, folder) {
				if to, err := os.Readlink(filepath.Join(folder, name)); err == nil {
					links[name] = to
				}
			}
			r := runCLI(t, t.Context(), "get", "-a", snapshot().Start(t), "--cursor-file", path)
			require.Equal(t, ExitOK, r.code, r.stderr)
			require.Equal(t, cursorRecord("c2"), content(t, filepath.Join(folder, tc.file)))
			require.Equal(t, tc.names, entries(t, folder))
			for name, to := range links {
				still, err := os.Readlink(filepath.Join(folder, name))
				require.NoError(t, err)
				require.Equal(t, to, still)
			}
		})
	}
}

// A cursor file that is made is for its user alone.
func TestCursorFileIsPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "cursor")
	r := runCLI(t, t.Context(), "get", "-a", snapshot().Start(t), "--cursor-file", path)
	require.Equal(t, ExitOK, r.code, r.stderr)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestCursorFileKeepsModeAndOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	writeFile(t, path, "")
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 { // who may give files away
		uid, gid = 12345, 12345
		require.NoError(t, os.Chown(path, uid, gid))
	}
	require.NoError(t, os.Chmod(path, 0o640))
	r := runCLI(t, t.Context(), "get", "-a", snapshot().Start(t), "--cursor-file", path)
	require.Equal(t, ExitOK, r.code, r.stderr)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode())
	require.Equal(t, uid, int(info.Sys().(*syscall.Stat_t).Uid))
	require.Equal(t, gid, int(info.Sys().(*syscall.Stat_t).Gid))
	require.Equal(t, cursorRecord("c2"), content(t, path))
}

// TestUnusableCursorFiles has files that are refused before any call, and stay as
// they are.
func TestUnusableCursorFiles(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	require.NoError(t, os.Mkdir(in("folder"), 0o755))
	require.NoError(t, unix.Mkfifo(in("pipe"), 0o600))
	socket, err := net.Listen("unix", in("socket"))
	require.NoError(t, err)
	defer func() { _ = socket.Close() }()
	require.NoError(t, os.Symlink("pipe", in("link")))
	require.NoError(t, os.Symlink("loop", in("loop")))
	for name, text := range map[string]string{
		"binary": "\xff\xfe\x80\n", "text": "hello, world\n", "word": "hello\n", "long": strings.Repeat("c", 2*maxCursorRecord),
		"lines": "one\ntwo\n", "segment": string(segmentBytes(t)),
		"torn": cursorRecord("c7")[:5], "zeros": "\x00\x00\x00\x00", "edited": strings.Replace(cursorRecord("c7"), "c7", "c8", 1),
	} {
		writeFile(t, in(name), text)
	}
	server := snapshot()
	address := server.Start(t)
	for path, want := range map[string]string{
		in("folder"): "a folder", in("pipe"): "a named pipe", in("socket"): "a socket", "/dev/null": "a device",
		in("link"): "a named pipe", in("loop"): "too many levels of symbolic links",
		in("none/cursor"): "its folder does not exist", in("text/cursor"): "not a directory",
		in("binary"): errNotCursor.Error(), in("text"): errNotCursor.Error(), in("word"): errNotCursor.Error(),
		in("long"): errNotCursor.Error(), in("lines"): errNotCursor.Error(), in("segment"): errNotCursor.Error(),
		in("torn"): errTornCursor.Error(), in("zeros"): errTornCursor.Error(), in("edited"): errTornCursor.Error(),
	} {
		before := entries(t, folder)
		r := runCLI(t, t.Context(), "get", "-a", address, "--cursor-file", path)
		require.Equal(t, ExitFailure, r.code, "%s: %s", path, r.stderr)
		require.Contains(t, r.stderr, "--cursor-file "+path+": ")
		require.Contains(t, r.stderr, want)
		require.Empty(t, r.stdout)
		require.Equal(t, before, entries(t, folder))
	}
	require.Empty(t, server.Requests())
	require.Equal(t, "hello, world\n", content(t, in("text")))
	require.Equal(t, cursorRecord("c7")[:5], content(t, in("torn")))

	r := runCLI(t, t.Context(), "get", "-a", address, "--cursor", "\xff")
	require.Equal(t, ExitUsage, r.code)
}

func TestCursorFileIsNotTheOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	var stderr buffer
	code := run(t.Context(), []string{"get", "-a", snapshot().Start(t), "--cursor-file", path}, environment{stdout: f, output: f, stderr: &stderr})
	require.Equal(t, ExitFailure, code)
	require.Contains(t, stderr.String(), errCursorOutput.Error())
	require.Empty(t, content(t, path))
}

// TestTornCursor cuts a record off at each byte, and writes each prefix of one over
// another.
func TestTornCursor(t *testing.T) {
	records := []string{cursorRecord("c7"), cursorRecord("a-longer.cursor_7"), cursorRecord(strings.Repeat("Ab0-", 1000))}
	for _, r := range records {
		for n := 1; n < len(r); n++ {
			_, err := parseCursorRecord([]byte(r[:n]))
			require.ErrorIs(t, err, errTornCursor, "%q", r[:n])
		}
		for _, old := range records {
			if old == r {
				continue
			}
			for n := 1; n < min(len(r), len(old)); n++ {
				_, err := parseCursorRecord([]byte(r[:n] + old[n:]))
				require.Error(t, err, "%q", r[:n]+old[n:])
			}
		}
	}
}

func FuzzCursorRecord(f *testing.F) {
	for _, s := range []string{"", "\n", cursorRecord("c7"), "c7\n", "c7 0", "\x00\x00", cursorRecord("c7") + "rest"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cursor, err := parseCursorRecord(b)
		if err != nil {
			require.Empty(t, cursor)
			return
		}
		if cursor != "" {
			require.True(t, isCursor(cursor))
		}
		require.True(t, strings.HasPrefix(string(b), cursorRecord(cursor)))
	})
}

// ticking sends a sample with the next cursor at each tick.
func ticking(tick <-chan struct{}) *metricstest.Server {
	return &metricstest.Server{Script: func(ctx context.Context, call *metricstest.Call) error {
		for i := 1; ; i++ {
			select {
			case <-tick:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := call.Send(&metricsv1.GetMetricsResponse{
				Timeseries: []*metricsv1.TimeSeries{float(float64(i), "__name__", "n")}, Cursor: fmt.Sprintf("c%d", i),
			}); err != nil {
				return err
			}
		}
	}}
}

// TestSecondRunIsRefused while the first one replaces the file again and again.
func TestSecondRunIsRefused(t *testing.T) {
	tick := make(chan struct{})
	server := ticking(tick)
	address := server.Start(t)
	folder := t.TempDir()
	path := filepath.Join(folder, "cursor")
	require.NoError(t, os.Symlink("cursor", filepath.Join(folder, "link")))
	ctx, interrupt := context.WithCancelCause(t.Context())
	code := make(chan int, 1)
	var stdout, stderr buffer
	go func() {
		code <- run(ctx, []string{"get", "-f", "-a", address, "--cursor-file", path}, environment{stdout: &stdout, stderr: &stderr})
	}()
	for i := range 3 {
		// Until a response saves the file, which is due once an interval.
		was := ""
		if i > 0 {
			was = content(t, path)
		}
		require.Eventually(t, func() bool {
			tick <- struct{}{}
			b, _ := os.ReadFile(path)
			return string(b) != was && len(b) > 0
		}, 30*time.Second, 50*time.Millisecond)
		for _, name := range []string{"cursor", "link"} {
			r := runCLI(t, t.Context(), "get", "-a", address, "--cursor-file", filepath.Join(folder, name))
			require.Equal(t, ExitFailure, r.code)
			require.Contains(t, r.stderr, errCursorInUse.Error())
			require.Empty(t, r.stdout)
		}
	}
	interrupt(errInterrupted)
	require.Equal(t, ExitOK, <-code, stderr.String())
	require.Len(t, server.Requests(), 1)
}

// TestKilledRunLeavesNoLock kills a program that has locked the file.
func TestKilledRunLeavesNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "get", "-f", "-a", following().Start(t), "--cursor-file", path)
	cmd.Env = append(os.Environ(), asProgram+"=yes")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1)) // it prints, and has the lock since before
	require.NoError(t, err)
	r := runCLI(t, t.Context(), "get", "-a", snapshot().Start(t), "--cursor-file", path)
	require.Contains(t, r.stderr, errCursorInUse.Error())
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	r = runCLI(t, t.Context(), "get", "-a", snapshot().Start(t), "--cursor-file", path)
	require.Equal(t, ExitOK, r.code, r.stderr)
}

// TestCursorFileThatIsTakenAway ends a run that could not save its cursor.
func TestCursorFileThatIsTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	c, err := openCursorFile(path, nil)
	require.NoError(t, err)
	defer c.close()
	c.cursor = "c1"
	require.NoError(t, c.save())
	require.NoError(t, os.Remove(path))
	writeFile(t, path, "another's")
	c.cursor = "c2"
	require.ErrorIs(t, c.save(), errCursorMoved)
	require.Equal(t, "another's", content(t, path))
}

func TestRunWithoutCursorLeavesNoFile(t *testing.T) {
	folder := t.TempDir()
	r := runCLI(t, t.Context(), "get", "-a", refusing(t), "--cursor-file", filepath.Join(folder, "cursor"))
	require.Equal(t, ExitUnreachable, r.code)
	require.Empty(t, entries(t, folder))
}
