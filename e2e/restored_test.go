package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// All machines are lost, and the bucket has what they had.
func TestRestoredFromTheBucket(t *testing.T) {
	t.Parallel()
	bucket := filepath.Join(t.TempDir(), "bucket")
	if err := os.Mkdir(bucket, 0o700); err != nil {
		t.Fatal(err)
	}
	cluster := harness.NewCluster(t, harness.Options{Server: []string{"--bucket=" + bucket, "--bucket.interval=1s"}})
	for i := range 20 {
		write(t, cluster, series(map[string]string{"__name__": "kept"}, float64(i)))
	}
	awaitSeries(t, cluster, "kept", 1)
	want := harness.Get(t, cluster.RPC(0), "grpc", "kept", "--since=1h").Points
	// The second object that is begun from now on has all that was written by now.
	written := time.Now()
	harness.Eventually(t, "the last samples in the bucket", func() bool { return objectsSince(t, bucket, written) >= 2 })
	for _, p := range cluster.Processes() {
		p.Kill()
	}
	data := t.TempDir()
	runbook(t, "Restore a lost deployment from the bucket", []string{"BUCKET=" + bucket, "DATA=" + data})

	host := harness.Host()
	restored := harness.Start(t, "restored", harness.Binary(t, "prometheus-api-server"), "--storage.path="+filepath.Join(data, "restored"),
		"--link.listen-address="+host+":0", "--rpc.listen-address="+host+":0", "--web.listen-address="+host+":0")
	got := harness.Get(t, restored.Listening("rpc"), "grpc", "kept", "--since=1h").Points
	if missing := got.Missing(want); len(want) == 0 || missing > 0 || len(got) != len(want) {
		t.Errorf("%d of %d points, %d are missing", len(got), len(want), missing)
	}
}

// objectsSince is how many objects came into a folder that is a bucket.
func objectsSince(t *testing.T, bucket string, then time.Time) (n int) {
	t.Helper()
	for _, pattern := range []string{"*/*.seg", "*/*.part/*"} {
		names, err := filepath.Glob(filepath.Join(bucket, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.ModTime().After(then) {
				n++
			}
		}
	}
	return n
}
