package buckettest

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Bucket is the name of the bucket that stand-ins have.
const Bucket = "test"

// Secret is what a test's credentials keep to themselves.
const Secret = "not-a-secret"

// StartS3 returns the address of versitygw, a real S3 server, with a bucket, and sets the
// credentials for it.
func StartS3(t *testing.T) string {
	t.Helper()
	const key = "conformance"
	t.Setenv("AWS_ACCESS_KEY_ID", key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", Secret)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, Bucket), 0o700))
	return Start(t, "versitygw", func(address string) []string {
		return []string{"--port", address, "--access", key, "--secret", Secret, "--quiet", "posix", dir}
	})
}

// StartGCS returns the address of fake-gcs-server, which stands in for Google's, with a
// bucket.
func StartGCS(t *testing.T) string {
	t.Helper()
	address := Start(t, "fake-gcs-server", func(address string) []string {
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		return []string{"-scheme", "http", "-host", host, "-port", port, "-public-host", address, "-backend", "memory", "-log-level", "error"}
	})
	response, err := http.Post("http://"+address+"/storage/v1/b", "application/json", strings.NewReader(`{"name":"`+Bucket+`"}`))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	return address
}

// Start starts a program of .tools, given an address to listen at, and waits
// until it answers.
func Start(t *testing.T, name string, args func(address string) []string) string {
	t.Helper()
	path := os.Getenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	if path == "" {
		_, here, _, _ := runtime.Caller(0)
		path = filepath.Join(filepath.Dir(here), "..", "..", ".tools", name)
	}
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
