//go:build debian

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// TestHAProxy looks at what HAProxy's configuration does that only shows when
// something is amiss.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	target := harness.NewLocal(t, harness.Options{})
	sender := harness.NewSender(t, target.WriteURL(), "haproxy", 1)
	sender.Start(100 * time.Millisecond)
	harness.Eventually(t, "a sample", func() bool { return len(sender.Acknowledged()) > 0 })
	sender.Stop()
	t.Run("clients are killed", func(t *testing.T) { testKilledClients(t, target) })
	t.Run("servers say nothing", func(t *testing.T) { testSilentServers(t, target) })
	t.Run("servers start", func(t *testing.T) { testStartingServers(t, target) })
	t.Run("servers come and go", func(t *testing.T) { testPlaces(t, target) })
}

// testKilledClients kills followers of each protocol. Their streams end before the
// heartbeats come that would show that they are gone, which take a minute here.
func testKilledClients(t *testing.T, target *harness.Local) {
	for _, protocol := range protocols {
		f := harness.Follow(t, target.HAProxy().RPC, protocol, `{job="haproxy"}`, "--heartbeat=1h")
		harness.Eventually(t, "a stream over "+protocol, func() bool { _, sum := spread(target.HAProxy()); return sum == 1 })
		f.Kill()
		start := time.Now()
		harness.Eventually(t, "no stream over "+protocol, func() bool { _, sum := spread(target.HAProxy()); return sum == 0 })
		t.Logf("%s: the stream ended %s after its client", protocol, time.Since(start).Round(time.Millisecond))
	}
}

// whole is the deadline of calls that wait for servers.
const whole = 30 * time.Second

// call makes one call over a protocol, with no attempt of its own to make it again,
// and returns which server answered.
func call(ctx context.Context, address, protocol string) (instance string, err error) {
	return callFrom(ctx, "127.0.0.1", address, protocol)
}

// callFrom is call from an address of this machine.
func callFrom(ctx context.Context, source, address, protocol string) (instance string, err error) {
	ctx, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	var options []connect.ClientOption
	switch protocol {
	case "grpc":
		transport.Protocols.SetUnencryptedHTTP2(true)
		options = append(options, connect.WithGRPC())
	case "grpcweb":
		transport.Protocols.SetHTTP1(true)
		options = append(options, connect.WithGRPCWeb())
	default:
		transport.Protocols.SetHTTP1(true)
	}
	client := metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: transport}, "http://"+address, options...)
	status, err := client.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
	if err != nil {
		return "", err
	}
	return status.Msg.GetInstance(), nil
}

// outcome is what became of a call.
type outcome struct {
	protocol string
	err      error
	took     time.Duration
}

// waiting makes a call over each protocol, and has servers answer again while all
// of them wait. None may fail, but for those that waited for so long at least.
func waiting(t *testing.T, target *harness.Local, atLeast time.Duration, again func()) {
	t.Helper()
	outcomes := make(chan outcome, len(protocols))
	for _, protocol := range protocols {
		go func() {
			start := time.Now()
			_, err := call(t.Context(), target.HAProxy().RPC, protocol)
			outcomes <- outcome{protocol, err, time.Since(start)}
		}()
	}
	harness.Eventually(t, "calls to wait", func() bool {
		return target.HAProxy().Unchecked() >= len(protocols) || len(outcomes) > 0
	})
	again()
	for range protocols {
		o := <-outcomes
		t.Logf("%s: %v after %s", o.protocol, o.err, o.took.Round(time.Millisecond))
		if o.err != nil && o.took < atLeast {
			t.Errorf("%s: the call failed", o.protocol)
		}
	}
	target.HAProxy().Await(t, 2)
}

// testSilentServers stops both servers until HAProxy has given them up. Calls wait
// for them.
func testSilentServers(t *testing.T, target *harness.Local) {
	for n := range 2 {
		target.Pause(harness.ServerPart(n + 1))
	}
	target.HAProxy().Await(t, 0)
	waiting(t, target, whole, func() {
		for n := range 2 {
			target.Continue(harness.ServerPart(n + 1))
		}
	})
}

// retried is how long HAProxy tries at least to reach a server that does not listen.
const retried = 5 * time.Second

// testStartingServers has nobody listen while calls come.
func testStartingServers(t *testing.T, target *harness.Local) {
	for n := range 2 {
		target.Kill(harness.ServerPart(n + 1))
	}
	target.HAProxy().Await(t, 0)
	waiting(t, target, retried, func() {
		for n := range 2 {
			target.Start(harness.ServerPart(n + 1))
		}
	})
}

// testPlaces registers more servers than HAProxy has places for, which go again.
// A new one has a place soon.
func testPlaces(t *testing.T, target *harness.Local) {
	places := target.HAProxy().Places()
	host, _, _ := strings.Cut(target.RPC(0), ":")
	var ids []string
	for i := range places + 10 {
		id := fmt.Sprint("gone-", i)
		target.Consul().Register(serverService, id, host, 1+i) // where nobody listens
		ids = append(ids, id)
	}
	harness.Eventually(t, "all places to be taken", func() bool { return len(target.HAProxy().Servers()) == places })
	for _, id := range ids {
		target.Consul().Deregister(id)
	}
	start := time.Now()
	target.Start(harness.ServerPart(3))
	harness.Eventually(t, "a call to come to the new server", func() bool {
		instance, err := call(t.Context(), target.HAProxy().RPC, "connect")
		return err == nil && instance == harness.ServerPart(3)
	})
	t.Logf("the server had one of %d places after %s", places, time.Since(start).Round(time.Second))
}

// TestHAProxyLimits calls more often, and opens more connections, than one address
// may. Its calls may pass later, and those of others pass.
func TestHAProxyLimits(t *testing.T) {
	t.Parallel()
	const calls, connections = 30, 60 // calls open a connection each
	consul := harness.StartConsul(t)
	haproxy := harness.StartHAProxy(t, consul, fmt.Sprint("SOURCE_CALLS=", calls), fmt.Sprint("SOURCE_NEW_CONNECTIONS=", connections))
	harness.NewCluster(t, harness.Options{Consul: consul})
	haproxy.Await(t, 2)
	for i, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			source, other := fmt.Sprint("127.0.1.", i+1), fmt.Sprint("127.0.2.", i+1)
			called, refused := 0, error(nil)
			harness.Eventually(t, "a refusal", func() bool {
				called++
				_, refused = callFrom(t.Context(), source, haproxy.RPC, protocol)
				return refused != nil
			})
			if connect.CodeOf(refused) != connect.CodeUnavailable || !strings.Contains(refused.Error(), "too many calls from this address") || called <= calls {
				t.Errorf("call %d: %v", called, refused)
			}
			harness.Eventually(t, "connections to be refused", func() bool {
				_, err := callFrom(t.Context(), source, haproxy.RPC, protocol)
				return !strings.Contains(fmt.Sprint(err), "too many calls")
			})
			if _, err := callFrom(t.Context(), other, haproxy.RPC, protocol); err != nil {
				t.Errorf("another address: %v", err)
			}
			harness.Eventually(t, "a call to pass later", func() bool {
				time.Sleep(time.Second) // Attempts count, too.
				_, err := callFrom(t.Context(), source, haproxy.RPC, protocol)
				return err == nil
			})
		})
	}
}
