package harness

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Secured has what `make secured` makes: certificates, configuration and secrets of
// all parts. Nil is a deployment without. It is the clients' in this process, too,
// which have the certificate of Prometheus and the operator's token.
type Secured struct {
	dir string
	t   testing.TB
}

// NewSecured makes it, and has clients that are started from now on use it.
func NewSecured(t testing.TB) *Secured {
	t.Helper()
	s := &Secured{dir: t.TempDir(), t: t}
	certs := filepath.Join(s.dir, "certs")
	for _, args := range [][]string{{"./deploy/certs", "--dir=" + certs}, {"./deploy/secured", "--certs=" + certs, "--dir=" + s.dir}} {
		command := exec.Command("go", append([]string{"run"}, args...)...)
		command.Dir = root()
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("go run %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	for name, value := range map[string]string{
		"TLS_CA_FILE": s.File("client", "ca.pem"), "TLS_SERVER_NAME": "localhost", "BEARER_TOKEN_FILE": s.File("client", "operator.token"),
		// HAProxy wants none, but servers do.
		"TLS_CERT_FILE": s.File("prometheus", "cert.pem"), "TLS_KEY_FILE": s.File("prometheus", "key.pem"),
	} {
		t.Setenv("PROMGRPC_CLIENT_"+name, value)
	}
	return s
}

// File of a part.
func (s *Secured) File(part, name string) string { return filepath.Join(s.folder(part), name) }

// Secret by the name of its file.
func (s *Secured) Secret(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.File("secrets", name))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// TLS returns what a client of the API calls with, at HAProxy or at a server, nil for
// cleartext.
func (s *Secured) TLS() *tls.Config {
	if s == nil {
		return nil
	}
	return s.tls("prometheus")
}

// Authorization returns the header of a client that may read everything, "" for none.
func (s *Secured) Authorization() string {
	if s == nil {
		return ""
	}
	return "Bearer " + s.Secret("operator.token")
}

// user is what comes before an address in the URL of who writes, and of who asks
// Prometheus.
func (s *Secured) user() string {
	if s == nil {
		return ""
	}
	return "prometheus:" + s.Secret("prometheus.password") + "@"
}

func (s *Secured) folder(part string) string { return filepath.Join(s.dir, part) }

// flags that a part of a cluster is started with.
func (s *Secured) flags(part string) []string {
	if s == nil {
		return nil
	}
	flags := []string{"--web.config.file=" + s.File(part, "web.yml"), "--access.file=" + s.File(part, "access.yml")}
	dials := map[string]string{"receiver": "forwarder", "forwarder": "server", "server": "peer"}[part]
	if part != "receiver" {
		flags = append(flags, "--link.config.file="+s.File(part, "link.yml"))
	}
	if part == "server" {
		flags = append(flags, "--rpc.config.file="+s.File(part, "rpc.yml"))
	}
	for _, file := range []string{"ca", "cert", "key"} {
		flags = append(flags, "--"+dials+".tls-"+file+"-file="+s.File(part, file+".pem"))
	}
	return flags
}

// env has what a part asks Consul with.
func (s *Secured) env(part string) []string {
	if s == nil {
		return nil
	}
	return []string{
		"CONSUL_HTTP_SSL=true", "CONSUL_CACERT=" + s.File(part, "ca.pem"), "CONSUL_TLS_SERVER_NAME=localhost",
		"CONSUL_HTTP_TOKEN_FILE=" + s.File(part, "consul.token"),
	}
}

// client of HTTP servers, as a part.
func (s *Secured) client(part string) *http.Client {
	if s == nil {
		return nil
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls(part)}}
}

// tls configuration of what a part calls. All have the name localhost.
func (s *Secured) tls(part string) *tls.Config {
	s.t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	authority, err := os.ReadFile(s.File(part, "ca.pem"))
	if err != nil || !config.RootCAs.AppendCertsFromPEM(authority) {
		s.t.Fatalf("authority of %s: %v", part, err)
	}
	if part == "client" {
		return config
	}
	pair, err := tls.LoadX509KeyPair(s.File(part, "cert.pem"), s.File(part, "key.pem"))
	if err != nil {
		s.t.Fatalf("certificate of %s: %v", part, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config
}
