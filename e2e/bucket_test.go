package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// A server with an empty disk is filled from S3, and streams all that was written, also
// what no forwarder brings it any more.
func TestServerFilledFromS3(t *testing.T) {
	t.Parallel()
	bucket := harness.StartBucket(t)
	cluster := harness.NewCluster(t, harness.Options{Bucket: bucket, Server: []string{"--bucket.interval=1s"}})
	for i := range 20 {
		write(t, cluster, series(map[string]string{"__name__": "kept"}, float64(i)))
	}
	awaitSeries(t, cluster, "kept", 1)
	want := harness.Get(t, cluster.RPC(0), "grpc", "kept", "--since=1h").Points
	// Of each log the second object that is begun from now on has all that was written.
	written := time.Now()
	harness.Eventually(t, "the last samples in the bucket", func() bool { return objectsSince(t, bucket.Folder, written) >= 6 })
	host := harness.Host()
	filled := harness.StartEnv(t, "filled", bucket.Env, harness.Binary(t, "prometheus-api-server"), "--storage.path="+t.TempDir(), "--bucket="+bucket.URL,
		"--link.listen-address="+host+":0", "--rpc.listen-address="+host+":0", "--web.listen-address="+host+":0")
	ready := "http://" + filled.Listening("web") + "/-/ready"
	harness.Eventually(t, "the server is filled", func() bool {
		response, err := http.Get(ready)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	got := harness.Get(t, filled.Listening("rpc"), "grpc", "kept", "--since=1h").Points
	if missing := got.Missing(want); len(want) == 0 || missing > 0 || len(got) != len(want) {
		t.Errorf("%d of %d points, %d are missing", len(got), len(want), missing)
	}
}
