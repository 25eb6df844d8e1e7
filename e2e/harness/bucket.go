package harness

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// Bucket is a real S3 server with a bucket, which keeps its objects over restarts.
type Bucket struct {
	*Process

	// URL is the bucket's, and Env has what whoever uses it needs in its environment.
	URL string
	Env []string
	// Folder has the objects as files, by their names.
	Folder string

	t       testing.TB
	address string
}

// The credentials of a Bucket.
const (
	bucketKey    = "e2e"
	bucketSecret = "e2e-secret"
)

// StartBucket starts one, and waits until it answers.
func StartBucket(t testing.TB) *Bucket {
	t.Helper()
	folder := t.TempDir() // each of its folders is a bucket
	b := &Bucket{
		t: t, address: Address(t, Host()), Folder: filepath.Join(folder, "e2e"),
		Env: []string{"AWS_ACCESS_KEY_ID=" + bucketKey, "AWS_SECRET_ACCESS_KEY=" + bucketSecret},
	}
	b.URL = "s3://e2e?endpoint=" + b.address + "&insecure=true"
	if err := os.Mkdir(b.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	b.Process = StartEnv(t, "bucket", []string{"ROOT_ACCESS_KEY=" + bucketKey, "ROOT_SECRET_KEY=" + bucketSecret},
		Tool(t, "versitygw"), "--port="+b.address, "--health=/health", "--quiet", "posix", folder)
	b.Await()
	return b
}

// Await waits until it answers.
func (b *Bucket) Await() {
	b.t.Helper()
	b.eventually("the bucket's answer", func() bool {
		response, err := http.Get("http://" + b.address + "/health")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}
