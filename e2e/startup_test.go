package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// store is a program with a data folder, and the folder in it that it opens first.
type store struct {
	binary, first string
	listeners     []string
}

// args are the flags by which it runs on a folder.
func (s store) args(path string) []string {
	args := []string{"--storage.path=" + path}
	for _, l := range s.listeners {
		args = append(args, "--"+l+".listen-address="+harness.Host()+":0")
	}
	return args
}

var stores = []store{
	{"metrics-forwarder", "", []string{"link", "web"}},
	{"prometheus-api-server", "", []string{"link", "web", "rpc"}},
	{"prometheus-grpc-exporter", "server-1", []string{"receiver", "rpc"}},
}

// badFolder is a folder that a program cannot work on.
type badFolder struct {
	name, reason string
	// prepare makes the folder useless and returns the command that runs on it.
	prepare func(t *testing.T, s store, path string) []string
}

var badFolders = []badFolder{
	{"in use", "storage is in use by another process", func(t *testing.T, s store, path string) []string {
		first := harness.Start(t, "first", harness.Binary(t, s.binary), s.args(path)...)
		first.Listening(s.listeners[len(s.listeners)-1])
		return nil
	}},
	{"a file in its place", "not a directory", func(t *testing.T, _ store, path string) []string {
		succeed(t, os.WriteFile(path, nil, 0o644))
		return nil
	}},
	{underFile, "not a directory", func(t *testing.T, _ store, path string) []string {
		succeed(t, os.WriteFile(filepath.Dir(path), nil, 0o644))
		return nil
	}},
	{"not permitted", "permission denied", func(t *testing.T, _ store, path string) []string {
		succeed(t, os.Mkdir(path, 0o500))
		if os.Geteuid() != 0 {
			return nil
		}
		return []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	}},
}

const underFile = "under a file"

// TestBadFolder starts each program on a folder that it cannot work on. It ends
// with code 1, and says which folder and why.
func TestBadFolder(t *testing.T) {
	t.Parallel()
	testBadFolders(t, badFolders)
}

func testBadFolders(t *testing.T, folders []badFolder) {
	for _, s := range stores {
		for _, folder := range folders {
			t.Run(s.binary+"/"+folder.name, func(t *testing.T) {
				dir := t.TempDir()
				succeed(t, os.Chmod(filepath.Dir(dir), 0o755)) // the program may run as another user
				path := filepath.Join(dir, "parent", "data")
				if folder.name != underFile {
					succeed(t, os.Mkdir(filepath.Dir(path), 0o755))
				}
				command := append(folder.prepare(t, s, path), copyOf(t, dir, harness.Binary(t, s.binary)))
				p := harness.Start(t, s.binary, command[0], append(command[1:], s.args(path)...)...)
				if code := p.Wait(time.Minute); code != 1 {
					t.Errorf("exit code %d", code)
				}
				said := p.Stderr().Tail(4 << 10)
				for _, part := range []string{"level=ERROR", filepath.Join(path, s.first), folder.reason} {
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
	for _, s := range stores {
		t.Run(s.binary, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "not", "there")
			p := harness.Start(t, s.binary, harness.Binary(t, s.binary), s.args(path)...)
			p.Listening(s.listeners[len(s.listeners)-1])
			if info, err := os.Stat(filepath.Join(path, s.first)); err != nil || !info.IsDir() {
				t.Errorf("%s was not made: %v", path, err)
			}
			if code := p.Terminate(time.Minute); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// copyOf is a binary in a place from where every user may run it. Another process writes
// it: a test that starts one at that moment would pass a file of ours on to it, and what is
// open for writing cannot be run.
func copyOf(t *testing.T, dir, binary string) string {
	t.Helper()
	path := filepath.Join(dir, filepath.Base(binary))
	succeed(t, exec.Command("install", "--mode=755", binary, path).Run())
	return path
}

func succeed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
