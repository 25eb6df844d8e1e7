//go:build debian

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/e2e/harness"
)

// TestKillingCallOfOthers is TestKillingCall through a real HAProxy, and by the
// example in Python.
func TestKillingCallOfOthers(t *testing.T) {
	t.Parallel()
	consul := harness.StartConsul(t)
	haproxy := harness.StartHAProxy(t, consul)
	t.Run("direct python", func(t *testing.T) {
		m := startMortals(t)
		killPython(t, "--address="+strings.Join(m.addresses(), ","))
		m.check(t, 2)
	})
	// balanced makes a call through HAProxy.
	balanced := func(name string, call func(t *testing.T)) {
		t.Run("haproxy "+name, func(t *testing.T) {
			m := startMortals(t)
			for i, s := range m {
				register(t, consul, fmt.Sprint(name, i), s.address())
			}
			haproxy.Await(t, len(m))
			call(t)
			m.check(t, 3)
			for _, s := range m {
				s.die()
			}
			haproxy.Await(t, 0)
		})
	}
	balanced("python", func(t *testing.T) { killPython(t, "--address="+haproxy.RPC, "--follow") })
	for _, protocol := range protocols {
		balanced(protocol, func(t *testing.T) {
			client, err := promgrpc.New([]string{haproxy.RPC}, promgrpc.Options{Protocol: promgrpc.Protocol(protocol), MaxReconnects: 20})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			var suspect *promgrpc.SuspectError
			for _, err := range client.Get(t.Context(), promgrpc.Selection{Follow: true}) {
				if !errors.As(err, &suspect) {
					t.Errorf("the call ended with %v", err)
				}
			}
		})
	}
}

// killPython has the example of clients/python make the call.
func killPython(t *testing.T, args ...string) {
	t.Helper()
	code, _, stderr := followPython(t, args...)
	if code != 5 {
		t.Errorf("exit code %d, want 5", code)
	}
	contains(t, stderr, "died")
}

func register(t *testing.T, consul *harness.Consul, id, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"ID": id, "Name": serverService, "Address": host, "Port": json.Number(port)})
	if err != nil {
		t.Fatal(err)
	}
	put(t, consul, string(body))
}

func put(t *testing.T, consul *harness.Consul, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+consul.HTTP+"/v1/agent/service/register", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("consul: %s", res.Status)
	}
}
