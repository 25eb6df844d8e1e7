package bucket

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
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
	address := startVersitygw(t)
	conform(t, provider{url: func(prefix string) string {
		return "s3://test/" + prefix + "?insecure=true&endpoint=" + address
	}})
}

const s3Key, s3Secret = "conformance", "not-a-secret"

// startVersitygw returns the address of an S3 server with a bucket named test, and
// sets the credentials for it.
func startVersitygw(t *testing.T) string {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", s3Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3Secret)
	dir := t.TempDir()
	address := startProvider(t, "versitygw", func(address string) []string {
		return []string{"--port", address, "--access", s3Key, "--secret", s3Secret, "--quiet", "posix", dir}
	})
	client, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(s3Key, s3Secret, "")})
	require.NoError(t, err)
	require.NoError(t, client.MakeBucket(t.Context(), "test", minio.MakeBucketOptions{Region: "us-east-1"}))
	return address
}

// fake-gcs-server is a stand-in for Google's: it knows conditional creation, and what
// an object's checksum has to be.
func TestGCS(t *testing.T) {
	address := startFakeGCS(t)
	conform(t, provider{url: func(prefix string) string {
		return "gs://test/" + prefix + "?insecure=true&endpoint=" + address
	}})
}

func startFakeGCS(t *testing.T) string {
	t.Helper()
	address := startProvider(t, "fake-gcs-server", func(address string) []string {
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		return []string{"-scheme", "http", "-host", host, "-port", port, "-public-host", address, "-backend", "memory", "-log-level", "error"}
	})
	response, err := http.Post("http://"+address+"/storage/v1/b", "application/json", strings.NewReader(`{"name":"test"}`))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	return address
}

// startProvider starts a program of .tools, given an address to listen at, and waits
// until it answers.
func startProvider(t *testing.T, name string, args func(address string) []string) string {
	t.Helper()
	path := os.Getenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	if path == "" {
		path = filepath.Join("..", "..", ".tools", name)
	}
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	require.FileExists(t, path, "%s is needed: run `make tools`", name)
	// Its port cannot be asked for, and a free one may be taken until it listens.
	for range 10 {
		address := freeAddress(t)
		if startAt(t, path, address, args(address)) {
			return address
		}
	}
	t.Fatalf("%s does not start", name)
	return ""
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	return listener.Addr().String()
}

// startAt says whether a program has started and answers.
func startAt(t *testing.T, path, address string, args []string) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, path, args...)
	command.Dir = t.TempDir()
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var output strings.Builder
	command.Stdout, command.Stderr = &output, &output
	require.NoError(t, command.Start())
	ended := make(chan struct{})
	go func() {
		_ = command.Wait() // it is killed
		close(ended)
	}()
	stop := func() {
		cancel()
		<-ended
	}
	for {
		select {
		case <-ended:
			cancel()
			t.Logf("%s ended: %s", filepath.Base(path), output.String())
			return false
		case <-time.After(20 * time.Millisecond):
		}
		response, err := http.Get("http://" + address)
		if err == nil {
			require.NoError(t, response.Body.Close())
			t.Cleanup(stop)
			return true
		}
	}
}
