package e2e

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestAllInOne does what the README says first: start it, look, follow, end it.
func TestAllInOne(t *testing.T) {
	t.Parallel()
	host := harness.Host()
	exporter := harness.Start(t, "exporter", harness.Binary(t, "prometheus-grpc-exporter"),
		"--receiver.listen-address="+host+":0",
		"--rpc.listen-address="+host+":0",
		"--rpc.listen-address="+host+":0",
		"--storage.path="+filepath.Join(t.TempDir(), "data"),
		"--self.interval=200ms")
	exporter.Ready(exporter.Logged("msg=listening", "part=receiver", "listener=web")["address"])
	contains(t, exporter.Stderr().Bytes(), "/api/v1/write", "prometheus-grpc-client get --follow --address "+host)

	interrupt := func(p *harness.Process) {
		t.Helper()
		start := time.Now()
		p.Signal(syscall.SIGINT)
		if code := p.Wait(20 * time.Second); code != 0 {
			t.Errorf("%s ended with the code %d", p.Name, code)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s took %s to end", p.Name, took)
		}
	}
	for n := range 2 {
		address := exporter.Logged("msg=listening", fmt.Sprintf("part=server-%d", n+1), "listener=rpc")["address"]
		harness.Eventually(t, "its own series at server "+address, func() bool {
			return len(harness.Get(t, address, protocols[n], "up", `go_goroutines`).Points) >= 2
		})
		text := string(must(t, "get", "--address", address))
		contains(t, []byte(text), "\nup{", "\ngo_goroutines{", "\npromgrpc_")

		f := harness.Follow(t, address, protocols[n], "up")
		for range 3 {
			seen := len(f.Points())
			harness.Eventually(t, "the next sample at a follower", func() bool { return len(f.Points()) > seen })
		}
		interrupt(f.Process)
	}
	// A stream that is open must not keep it from ending.
	address := exporter.Logged("msg=listening", "part=server-1", "listener=rpc")["address"]
	f := harness.Follow(t, address, "connect", "up")
	harness.Eventually(t, "a sample at a follower", func() bool { return len(f.Points()) > 0 })
	interrupt(exporter)
	interrupt(f.Process)
}

// must runs the client, which has to succeed.
func must(t *testing.T, args ...string) []byte {
	t.Helper()
	code, stdout, stderr := harness.Client(t, args...)
	if code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, stderr)
	}
	return stdout
}
