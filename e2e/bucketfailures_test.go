//go:build debian || compose

package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// bucketAwayFor is how long the bucket is away: shorter than in `make test-failures` by
// default, so that a run of all tests is not too long.
var bucketAwayFor = flag.Duration("bucket-away", 10*time.Second, "how long the bucket is away in TestFailuresOfBucket")

var bucketAway = failure{name: "bucket away", run: func(_ *testing.T, r *rig) {
	r.target.Kill(harness.BucketPart)
	time.Sleep(*bucketAwayFor)
	r.target.Start(harness.BucketPart)
}}

// TestFailuresOfBucket is TestFailures of what a bucket adds: it is away, and servers with
// empty disks fill themselves from it, since forwarders have no more than the latest.
// Whatever was sent is replayed by every server.
func TestFailuresOfBucket(t *testing.T) {
	const kept, segment = 20 * time.Second, 3 * time.Second
	bucket := harness.StartBucket(t)
	target := harness.NewLocal(t, harness.Options{
		Bucket:    bucket,
		Forwarder: []string{"--storage.retention.time=" + kept.String(), "--storage.segment.duration=" + segment.String()},
		Server:    []string{"--bucket.interval=1s", "--stream.max-age=" + maxAge.String()},
	})
	began := time.Now()
	testFailures(t, target, []failure{
		bucketAway,
		{name: "server's machine lost with its disk, filled from the bucket", broken: true, run: func(t *testing.T, r *rig) {
			// By then the first segments are in the bucket, and no forwarder has them.
			time.Sleep(time.Until(began.Add(2 * kept)))
			harness.Eventually(t, "segments in the bucket that no forwarder has", func() bool {
				forwarders := append(segmentsBelow(t, target.Folder(harness.ForwarderPart(1))), segmentsBelow(t, target.Folder(harness.ForwarderPart(2)))...)
				return len(segmentsBelow(t, bucket.Folder)) > len(forwarders)
			})
			r.lose(t, harness.ServerPart(1))
		}},
		{name: "third server added, filled from the bucket", run: func(t *testing.T, r *rig) { r.addServer(t) }},
	})
}

// segmentsBelow a folder, by their names.
func segmentsBelow(t *testing.T, folder string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			names = append(names, strings.TrimPrefix(path, folder))
		}
	}
	return names
}
