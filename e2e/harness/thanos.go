//go:build thanos

package harness

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// StartNameServer is StartConsul of one whose DNS is at the port that every program asks,
// so that /etc/resolv.conf can name it. Only root can listen there.
func StartNameServer(t testing.TB) *Consul {
	t.Helper()
	return startConsulAt(t, Host(), "53", "")
}

// Thanos is a real Thanos Query.
type Thanos struct {
	*Process

	// URL is the root of its HTTP API, which is that of Prometheus.
	URL string
}

// StartThanos starts one, with more flags, that resolves names by a Consul alone: in a mount
// namespace of its own, which only root can make.
func StartThanos(t testing.TB, consul *Consul, flags ...string) *Thanos {
	t.Helper()
	host, dir := Host(), t.TempDir()
	names, port, err := net.SplitHostPort(consul.DNS)
	if err != nil || port != "53" {
		t.Fatalf("no program asks a name server at %s (%v)", consul.DNS, err)
	}
	resolv := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver "+names+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	web := Address(t, host)
	p := Start(t, "thanos", "unshare", append([]string{
		"--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolv, Tool(t, "thanos"),
		"query", "--http-address=" + web, "--grpc-address=" + Address(t, host), "--store.sd-dns-interval=1s",
		"--query.active-query-path=" + dir,
	}, flags...)...)
	th := &Thanos{Process: p, URL: "http://" + web}
	p.eventually("readiness", func() bool {
		res, err := http.Get(th.URL + "/-/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return th
}

// StartSidecar starts a real Thanos sidecar, which reads a Prometheus with external labels,
// and returns the address of its API.
func StartSidecar(t testing.TB, p *Prometheus) string {
	t.Helper()
	host := Host()
	web, api := Address(t, host), Address(t, host)
	sidecar := Start(t, "sidecar", Tool(t, "thanos"), "sidecar", "--prometheus.url="+p.URL(), "--http-address="+web, "--grpc-address="+api)
	sidecar.eventually("readiness", func() bool {
		res, err := http.Get("http://" + web + "/-/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return api
}
