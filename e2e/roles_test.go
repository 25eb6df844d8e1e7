package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
	"github.com/promgrpc/exporter/internal/authority"
)

// parts have certificates that say what each is, and nothing of where it is.
type parts struct{ dir string }

const partsRoles = `roles:
  receiver: [spiffe://e2e/receiver]
  forwarder: [spiffe://e2e/forwarder]
  server: [spiffe://e2e/server]
`

func newParts(t *testing.T) parts {
	t.Helper()
	p := parts{t.TempDir()}
	certs := newCertificates(t, p.dir)
	p.write(t, "access.yml", partsRoles)
	for _, part := range []string{"receiver", "forwarder", "server"} {
		p.write(t, part+".yml", certs.listening(part, "spiffe://e2e/"+part))
	}
	return p
}

func (p parts) file(name string) string { return filepath.Join(p.dir, name) }

func (p parts) write(t *testing.T, name, text string) {
	t.Helper()
	err := os.WriteFile(p.file(name+".new"), []byte(text), 0o600)
	if err == nil {
		err = os.Rename(p.file(name+".new"), p.file(name))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flags of a program that has a part's certificate, and dials some other, "" for none.
func (p parts) flags(certificate, dials string) []string {
	flags := []string{"--access.file=" + p.file("access.yml")}
	if dials != "forwarder" { // A receiver listens for no links.
		flags = append(flags, "--link.config.file="+p.file(certificate+".yml"))
	}
	if dials != "" {
		cert, key := authority.Files(p.dir, certificate)
		prefix := "--" + dials + ".tls-"
		flags = append(flags, prefix+"ca-file="+p.file("ca.pem"), prefix+"cert-file="+cert, prefix+"key-file="+key)
	}
	return flags
}

// TestRoles has parts that Consul knows the addresses of know each other by roles, and
// each of them run with the certificate of another.
func TestRoles(t *testing.T) {
	t.Parallel()
	p, consul := newParts(t), harness.StartConsul(t)
	// Servers ask no peers here: their API has no TLS.
	cluster := harness.NewCluster(t, harness.Options{
		Consul:   consul,
		Receiver: p.flags("receiver", "forwarder"), Forwarder: p.flags("forwarder", "server"), Server: p.flags("server", "peer"),
	})
	write(t, cluster, series(map[string]string{"__name__": "known"}, 1))
	awaitSeries(t, cluster, "known", 1)

	host := harness.Host()
	start := func(name, binary string, flags ...string) *harness.Process {
		t.Helper()
		return harness.Start(t, name, harness.Binary(t, binary), append(flags, "--web.listen-address="+host+":0")...)
	}
	refused := func(at *harness.Process, certificate string) {
		t.Helper()
		at.Logged(`msg="link rejected"`, "reason=role", "spiffe://e2e/"+certificate)
	}
	receiver := start("server as receiver", "prometheus-remote-receiver", append(p.flags("server", "forwarder"),
		"--forwarder="+cluster.Forwarders[0].Listening("link"))...)
	refused(cluster.Forwarders[0], "server")
	receiver.Logged(`msg="forwarder not connected"`, "spiffe://e2e/server")
	forwarder := start("receiver as forwarder", "metrics-forwarder", append(p.flags("receiver", "server"),
		"--link.listen-address="+host+":0", "--server="+cluster.Servers[0].Listening("link"), "--storage.path="+t.TempDir())...)
	refused(cluster.Servers[0], "receiver")
	forwarder.Logged(`msg="server lost"`, "spiffe://e2e/receiver")
	start("forwarder as server", "prometheus-api-server", append(p.flags("forwarder", ""), "--consul="+consul.HTTP, "--advertise-address="+host,
		"--link.listen-address="+host+":0", "--rpc.listen-address="+host+":0", "--instance=forged", "--storage.path="+t.TempDir())...)
	cluster.Forwarders[0].Logged(`msg="server lost"`, "spiffe://e2e/forwarder")

	// A role is taken away, and given back.
	p.write(t, "access.yml", strings.ReplaceAll(partsRoles, "e2e/receiver", "e2e/another"))
	ready := func() int {
		response, err := http.Get("http://" + cluster.Receiver.Listening("web") + "/-/ready")
		if err != nil {
			return 0
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	harness.Eventually(t, "the receiver is cut off", func() bool { return ready() == http.StatusServiceUnavailable })
	p.write(t, "access.yml", partsRoles)
	harness.Eventually(t, "the receiver is back", func() bool { return ready() == http.StatusOK })
	write(t, cluster, series(map[string]string{"__name__": "known", "again": "true"}, 1))
	awaitSeries(t, cluster, "known", 2)
}
