package bucket_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/buckettest"
)

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	conform(t, provider{url: func(prefix string) string {
		path := filepath.Join(dir, filepath.FromSlash(prefix))
		require.NoError(t, os.MkdirAll(path, 0o700))
		return path
	}})
}

// versitygw is a real S3 server.
func TestS3(t *testing.T) {
	address := buckettest.StartS3(t)
	conform(t, provider{url: func(prefix string) string {
		return "s3://test/" + prefix + "?insecure=true&endpoint=" + address
	}})
}

// fake-gcs-server is a stand-in for Google's: it knows conditional creation, and what
// an object's checksum has to be.
func TestGCS(t *testing.T) {
	address := buckettest.StartGCS(t)
	conform(t, provider{url: func(prefix string) string {
		return "gs://test/" + prefix + "?insecure=true&endpoint=" + address
	}})
}
