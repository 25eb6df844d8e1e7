package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// stores are the programs with a data folder, and the folder in it that each
// opens first.
var stores = []struct {
	binary, first string
	listeners     []string
}{
	{"metrics-forwarder", "", []string{"link", "web"}},
	{"prometheus-api-server", "", []string{"link", "web", "rpc"}},
	{"prometheus-grpc-exporter", "server-1", []string{"receiver", "rpc"}},
}

// TestBadFolder starts each program on a folder that it cannot work on. It ends
// with code 1, and says which folder and why.
func TestBadFolder(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		args := func(path string) []string {
			args := []string{"--storage.path=" + path}
			for _, l := range store.listeners {
				args = append(args, "--"+l+".listen-address="+harness.Host()+":0")
			}
			return args
		}
		for _, test := range []struct {
			name, reason string
			// prepare makes the folder useless and returns the command that runs on it.
			prepare func(t *testing.T, path string) []string
		}{
			{"in use", "storage is in use by another process", func(t *testing.T, path string) []string {
				first := harness.Start(t, "first", harness.Binary(t, store.binary), args(path)...)
				first.Listening(store.listeners[len(store.listeners)-1])
				return nil
			}},
			{"a file in its place", "not a directory", func(t *testing.T, path string) []string {
				succeed(t, os.WriteFile(path, nil, 0o644))
				return nil
			}},
			{"under a file", "not a directory", func(t *testing.T, path string) []string {
				succeed(t, os.WriteFile(filepath.Dir(path), nil, 0o644))
				return nil
			}},
			{"read-only", "read-only file system", func(t *testing.T, path string) []string {
				succeed(t, os.Mkdir(path, 0o755))
				run(t, nil, "mount", "-t", "tmpfs", "-o", "ro", "tmpfs", path)
				t.Cleanup(func() { run(t, nil, "umount", path) })
				return nil
			}},
			{"not permitted", "permission denied", func(t *testing.T, path string) []string {
				succeed(t, os.Mkdir(path, 0o700))
				return []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
			}},
		} {
			t.Run(store.binary+"/"+test.name, func(t *testing.T) {
				dir := t.TempDir()
				succeed(t, os.Chmod(filepath.Dir(dir), 0o755)) // the program may run as another user
				path := filepath.Join(dir, "parent", "data")
				if test.name != "under a file" {
					succeed(t, os.Mkdir(filepath.Dir(path), 0o755))
				}
				command := append(test.prepare(t, path), copyOf(t, dir, harness.Binary(t, store.binary)))
				p := harness.Start(t, store.binary, command[0], append(command[1:], args(path)...)...)
				if code := p.Wait(time.Minute); code != 1 {
					t.Errorf("exit code %d", code)
				}
				said := p.Stderr().Tail(4 << 10)
				for _, part := range []string{"level=ERROR", filepath.Join(path, store.first), test.reason} {
					if !strings.Contains(said, part) {
						t.Errorf("no %q in what it said:\n%s", part, said)
					}
				}
			})
		}
	}
}

// TestMissingFolder starts each program on a folder that does not exist: it is
// made, with those above.
func TestMissingFolder(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		t.Run(store.binary, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "not", "there")
			args := []string{"--storage.path=" + path}
			for _, l := range store.listeners {
				args = append(args, "--"+l+".listen-address="+harness.Host()+":0")
			}
			p := harness.Start(t, store.binary, harness.Binary(t, store.binary), args...)
			p.Listening(store.listeners[len(store.listeners)-1])
			if info, err := os.Stat(filepath.Join(path, store.first)); err != nil || !info.IsDir() {
				t.Errorf("%s was not made: %v", path, err)
			}
			if code := p.Terminate(time.Minute); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// copyOf is a binary in a place from where every user may run it.
func copyOf(t *testing.T, dir, binary string) string {
	t.Helper()
	b, err := os.ReadFile(binary)
	succeed(t, err)
	path := filepath.Join(dir, filepath.Base(binary))
	succeed(t, os.WriteFile(path, b, 0o755))
	return path
}

func succeed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
