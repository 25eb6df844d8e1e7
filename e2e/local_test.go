//go:build debian

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestLocal runs deploy/local/up, plain, secured and with a bucket, until its client has
// what Prometheus scraped of every part. Other users of the machine can read none of it.
func TestLocal(t *testing.T) {
	for _, variant := range []string{"PLAIN", "SECURED", "BUCKET"} {
		t.Run(variant, func(t *testing.T) {
			dir := t.TempDir()
			// Its ports are fixed, but for the offset; it says so where one is taken.
			offset := fmt.Sprint("OFFSET=", 2000+rand.IntN(20_000))
			env := []string{"CLIENT=1", variant + "=1", offset, "BIN=" + filepath.Dir(harness.Binary(t, "metrics-forwarder"))}
			for _, tool := range []string{"consul", "haproxy", "prometheus3", "versitygw"} {
				env = append(env, strings.TrimSuffix(strings.ToUpper(tool), "3")+"="+harness.Tool(t, tool))
			}
			up := harness.StartEnv(t, "up", env, harness.File("deploy/local/up"), dir)
			// It ends what it has started, unless it is killed.
			t.Cleanup(func() {
				if up.Running() {
					up.Terminate(time.Minute)
				}
			})
			harness.Eventually(t, "all targets at the client", func() bool {
				if !up.Running() {
					t.Fatalf("it ended: %s%s", up.Stdout().String(), up.Stderr().String())
				}
				out, err := os.ReadFile(filepath.Join(dir, "client.log"))
				if err != nil {
					return false
				}
				for _, job := range []string{"consul", "haproxy", "metrics-forwarder", "prometheus", serverService, "prometheus-remote-receiver"} {
					if !strings.Contains(string(out), fmt.Sprintf(`job=%q} 1 `, job)) {
						return false
					}
				}
				return true
			})
			if variant == "BUCKET" {
				harness.Eventually(t, "objects in the bucket", func() bool {
					objects, err := filepath.Glob(filepath.Join(dir, "objects", "promgrpc", "*", "*"))
					return err == nil && len(objects) > 0
				})
			}
			nobodyElseReads(t, dir)
			if code := up.Terminate(time.Minute); code != 0 {
				t.Errorf("it ended with the code %d", code)
			}
		})
	}
}

// nobodyElseReads finds fault with what is in a folder and open to others, but for
// certificates, which are no secrets.
func nobodyElseReads(t *testing.T, dir string) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // It was temporary.
			}
			return err
		}
		info, err := e.Info()
		if path == dir || err != nil || info.Mode().Type() == fs.ModeSymlink {
			return nil //nolint:nilerr // It has gone.
		}
		found++
		if path == filepath.Join(dir, "objects") && info.Mode().Perm() == 0o700 {
			return fs.SkipDir // What is in it has a mode of the S3 server's own, which nobody else comes to.
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 && !(filepath.Dir(path) == filepath.Join(dir, "certs") && filepath.Ext(path) == ".pem" && mode == 0o644) {
			t.Errorf("%s: others may read it: %s", path, info.Mode())
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("%d files: %v", found, err)
	}
}
