package security

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/e2e/harness"
)

// regime is what the ports of a deployment ask for, as the table has it.
type regime struct {
	name string
	tls  bool
	// certificate is asked for, policies go by certificates and roles hold on the links.
	certificate, roles bool
	passwords          bool // of users
	access             string
}

// parts of them have certificates for their links.
const rolesText = `roles:
  receiver: ["spiffe://promgrpc/receiver"]
  forwarder: ["spiffe://promgrpc/forwarder"]
  server: ["spiffe://promgrpc/server"]
  proxy: ["spiffe://promgrpc/haproxy"]
`

var regimes = []regime{
	{name: "nothing"},
	{name: "TLS", tls: true},
	{name: "a certificate", tls: true, certificate: true},
	{name: "a certificate with a role or a policy", tls: true, certificate: true, roles: true, access: rolesText + policies(func(name string) string {
		return fmt.Sprintf("certificates: [%q]", uri(name))
	})},
	{name: "TLS and a token", tls: true, access: policies(func(name string) string { return "token_files: [" + name + ".secret]" })},
	{name: "TLS and a password", tls: true, passwords: true},
	{name: "TLS and a password with a policy", tls: true, passwords: true, access: policies(func(name string) string { return "users: [" + name + "]" })},
}

// policies of all who may do something, by a credential of theirs.
func policies(credential func(name string) string) string {
	text := "policies:\n"
	for name, right := range map[string]string{"reader": "read: {}", "writer": "write: {}", "relay": "read: {logs: true, status: true}"} {
		text += fmt.Sprintf("- {name: %s, %s, %s}\n", name, credential(name), right)
	}
	return text
}

// deployment is all programs, which ask for the same.
type deployment struct {
	t     *testing.T
	asks  regime
	certs *authorities
	dir   string
	host  string
	ports []port
}

// newDeployment starts one with a sample in it, and waits until that is everywhere.
func newDeployment(t *testing.T, asks regime, certs *authorities) *deployment {
	t.Helper()
	d := &deployment{t: t, asks: asks, certs: certs, dir: t.TempDir(), host: harness.Host()}
	d.file("ca.pem", string(certs.ours.Cert()))
	d.file("access.yml", asks.access)
	for _, name := range []string{"reader", "writer", "relay"} {
		d.file(name+".secret", secretOf(name))
	}
	server := d.server()
	forwarder := d.forwarder(server)
	d.receiver(forwarder)
	d.relay()
	d.allInOne()
	slices.SortStableFunc(d.ports, func(a, b port) int { return cmp.Compare(rank[a.kind], rank[b.kind]) })
	for _, p := range d.ports {
		if d.concerns(p) {
			d.await(p)
		}
	}
	return d
}

// rank has samples written before somebody waits for them.
var rank = map[string]int{rpc: 1}

// caller is one who gets in at a port.
func (d *deployment) caller(p port) caller {
	a := d.certs
	switch {
	case d.asks.certificate:
		return a.with(a.ours, p.right(), time.Time{})
	case d.asks.passwords:
		return a.saying(basic(p.right(), secretOf(p.right())))
	case d.asks.access != "":
		return a.saying(bearer(p.right()))
	case d.asks.tls:
		return caller{tls: a.trusting(a.ours)}
	}
	return caller{}
}

func (d *deployment) await(p port) {
	d.t.Helper()
	for way, ask := range asks[p.kind] {
		outcome := ""
		d.t.Cleanup(func() {
			if outcome != yes {
				d.t.Logf("%s of %s, by %s: %s", p.kind, p.program, way, outcome)
			}
		})
		harness.Eventually(d.t, fmt.Sprintf("%s of %s, by %s", p.kind, p.program, way), func() bool {
			outcome = ask(d.t, d.caller(p), p)
			return outcome == yes
		})
	}
}

func (d *deployment) server() (address string) {
	args := append([]string{"--storage.path=" + filepath.Join(d.dir, "server")}, d.links("server")...)
	s := d.start("server", "prometheus-api-server", append(args, d.rpcFlags("server", "rpc.listen-address")...)...)
	d.port(s, rpc, "server", "rpc")
	d.port(s, operators, "server", "web")
	return d.port(s, links, "server", "link")
}

func (d *deployment) forwarder(server string) (address string) {
	args := append([]string{"--storage.path=" + filepath.Join(d.dir, "forwarder"), "--server=" + server}, d.links("forwarder")...)
	f := d.start("forwarder", "metrics-forwarder", append(args, d.dialling("server.tls", "forwarder")...)...)
	d.port(f, operators, "forwarder", "web")
	return d.port(f, links, "forwarder", "link")
}

func (d *deployment) receiver(forwarder string) {
	args := append([]string{"--forwarder=" + forwarder}, d.dialling("forwarder.tls", "receiver")...)
	r := d.start("receiver", "prometheus-remote-receiver", args...)
	d.port(r, remoteWrite, "receiver", "web")
	d.port(r, operators, "receiver", "web")
}

func (d *deployment) relay() {
	args := append([]string{"relay", "--upstream=" + d.of(rpc, "server").address, "--storage.path=" + filepath.Join(d.dir, "relay")}, d.dialling("tls", "relay")...)
	switch {
	case d.asks.passwords:
		args = append(args, "--basic-auth-user=relay", "--basic-auth-password-file="+d.path("relay.secret"))
	case d.asks.access != "" && !d.asks.certificate:
		args = append(args, "--bearer-token-file="+d.path("relay.secret"))
	}
	r := d.start("relay", "prometheus-grpc-client", append(args, d.rpcFlags("relay", "listen")...)...)
	d.port(r, rpc, "relay", "rpc")
	d.port(r, operators, "relay", "web")
}

func (d *deployment) allInOne() {
	args := []string{"--receiver.listen-address=" + d.host + ":0", "--storage.path=" + filepath.Join(d.dir, "all"), "--self.interval=0"}
	if d.asks.tls {
		args = append(args, "--web.config.file="+d.listening("all"))
	}
	e := harness.Start(d.t, "all-in-one", harness.Binary(d.t, "prometheus-grpc-exporter"), append(args, append(d.rpcFlags("all", "rpc.listen-address"), d.access()...)...)...)
	d.port(e, remoteWrite, "all-in-one", "web", "part=receiver")
	d.port(e, operators, "all-in-one", "web", "part=receiver")
	d.port(e, rpc, "all-in-one", "rpc")
}

// start starts a part, with its port for operators.
func (d *deployment) start(name, binary string, args ...string) *harness.Process {
	d.t.Helper()
	args = append(args, "--web.listen-address="+d.host+":0")
	if d.asks.tls {
		args = append(args, "--web.config.file="+d.listening(name))
	}
	return harness.Start(d.t, name, harness.Binary(d.t, binary), append(args, d.access()...)...)
}

func (d *deployment) access() []string {
	if d.asks.access == "" {
		return nil
	}
	return []string{"--access.file=" + d.path("access.yml")}
}

func (d *deployment) rpcFlags(name, listen string) []string {
	args := []string{"--" + listen + "=" + d.host + ":0"}
	if d.asks.tls {
		args = append(args, "--rpc.config.file="+d.listening(name))
	}
	return args
}

// links returns the flags of a part that takes links. Where tokens and passwords are asked
// for, which links have none of, these are in cleartext.
func (d *deployment) links(name string) []string {
	args := []string{"--link.listen-address=" + d.host + ":0"}
	if d.secureLinks() {
		args = append(args, "--link.config.file="+d.tlsFile(name))
	}
	return args
}

func (d *deployment) secureLinks() bool {
	return d.asks.tls && !d.asks.passwords && (d.asks.certificate || d.asks.access == "")
}

// concerns says whether what the regime asks for can be asked for at a port.
func (d *deployment) concerns(p port) bool { return p.kind != links || d.secureLinks() || !d.asks.tls }

// dialling returns the flags of a part that dials another.
func (d *deployment) dialling(flag, name string) (args []string) {
	if flag == "tls" && !d.asks.tls || flag != "tls" && !d.secureLinks() {
		return nil
	}
	args = []string{"--" + flag + "-ca-file=" + d.path("ca.pem")}
	if d.asks.certificate {
		d.certificate(name)
		args = append(args, "--"+flag+"-cert-file="+d.path(name+".pem"), "--"+flag+"-key-file="+d.path(name+"-key.pem"))
	}
	return args
}

// listening returns a web configuration file of a part.
func (d *deployment) listening(name string) string {
	text := d.tlsText(name)
	if d.asks.passwords {
		text += "basic_auth_users:\n"
		for _, user := range []string{"reader", "writer", "relay", "nobody"} {
			hash, err := bcrypt.GenerateFromPassword([]byte(secretOf(user)), bcrypt.MinCost)
			require.NoError(d.t, err)
			text += fmt.Sprintf("  %s: %s\n", user, hash)
		}
	}
	return d.file(name+"-web.yml", text)
}

func (d *deployment) tlsFile(name string) string { return d.file(name+"-link.yml", d.tlsText(name)) }

func (d *deployment) tlsText(name string) string {
	d.certificate(name)
	return tlsConfig(name, d.asks.certificate)
}

// tlsConfig is the text of a web configuration file.
func tlsConfig(name string, certificates bool) string {
	text := fmt.Sprintf("tls_server_config:\n  cert_file: %[1]s.pem\n  key_file: %[1]s-key.pem\n", name)
	if certificates {
		text += "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
	}
	return text
}

// certificate makes that of a part, unless it has one.
func (d *deployment) certificate(name string) {
	if _, err := os.Stat(d.path(name + ".pem")); err == nil {
		return
	}
	require.NoError(d.t, d.certs.issue(d.certs.ours, time.Time{}, uri(name), d.host).Write(d.dir, name))
}

func (d *deployment) path(name string) string { return filepath.Join(d.dir, name) }

func (d *deployment) file(name, text string) string { return write(d.t, d.path(name), text) }

// write puts a file into the place of the one that was there, in one step.
func write(t *testing.T, path, text string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
	return path
}

// port notes where a process listens.
func (d *deployment) port(p *harness.Process, kind, program, listener string, logged ...string) string {
	d.t.Helper()
	address := p.Logged(append(logged, "msg=listening", "listener="+listener)...)["address"]
	d.ports = append(d.ports, port{kind, program, address})
	return address
}

func (d *deployment) of(kind, program string) port {
	for _, p := range d.ports {
		if p.kind == kind && p.program == program {
			return p
		}
	}
	d.t.Fatalf("no %s of %s", kind, program)
	return port{}
}
