//go:build debian

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/e2e/harness"
)

// TestPeersBehindTheBalancer has two machines call through a real HAProxy: each
// has a share of the streams, and neither gets more by what it says of itself.
func TestPeersBehindTheBalancer(t *testing.T) {
	t.Parallel()
	// One stream is left when both have their shares, so that it is these that they meet.
	const streams, share = 5, 2
	target := harness.NewLocal(t, harness.Options{Servers: 1, Server: []string{
		// HAProxy's connections leave from here.
		"--rpc.trusted-proxy=127.0.0.1",
		fmt.Sprintf("--limit.streams=%d", streams), fmt.Sprintf("--limit.peer-share=%d", 100*share/streams),
	}})
	address := target.HAProxy().RPC
	for _, machine := range []string{"127.0.0.2", "127.0.0.3"} {
		for i := range share {
			if err := open(t, address, machine, ""); err != nil {
				t.Fatalf("stream %d of %s: %v", i+1, machine, err)
			}
		}
		for _, forged := range []string{"", "127.0.0.9", "127.0.0.9, 127.0.0.1", "127.0.0.1"} {
			if err := open(t, address, machine, forged); err == nil {
				t.Errorf("%s has more than its share, with the header %q", machine, forged)
			} else if text := err.Error(); !strings.Contains(text, "--limit.streams") || !strings.Contains(text, machine) {
				t.Errorf("%s is refused with the header %q, but not for its share: %v", machine, forged, err)
			}
		}
	}
}

// open opens a stream from an address of this machine, which says that it is
// forwarded for others, and keeps it until the test ends.
func open(t *testing.T, address, from, forwardedFor string) error {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	o := promgrpc.Options{
		MaxReconnects: -1,
		GRPC: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		})},
	}
	if forwardedFor != "" {
		o.Header = http.Header{"X-Forwarded-For": {forwardedFor}}
	}
	client, err := promgrpc.New([]string{address}, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	done := make(chan struct{})
	go func() {
		defer close(done)
		told := false
		for _, err := range client.Get(ctx, promgrpc.Selection{Follow: true}) {
			if !told {
				first <- err
				told = true
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = client.Close()
	})
	return <-first
}
