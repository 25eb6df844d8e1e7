package torture

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/promgrpc/exporter/internal/authority"
)

// links have the files by which the parts know each other. No certificate is for the
// address that is dialled, a proxy's: what counts are roles.
type links struct{ dir string }

const (
	linkAccess = `roles:
  receiver: [spiffe://torture/receiver]
  forwarder: [spiffe://torture/forwarder*]
  server: [spiffe://torture/server]
`
	// linkConfig of a listener, before its certificate.
	linkConfig = "tls_server_config:\n  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
)

func newLinks(t testing.TB, forwarders int) *links {
	t.Helper()
	l := &links{t.TempDir()}
	// Each process has a clock of its own.
	a, err := authority.New("torture", longer)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(numbered("forwarder", forwarders), "receiver", "server") {
		pair, err := a.Issue(authority.Request{Names: []string{"spiffe://torture/" + name}, NotBefore: time.Now().Add(-longer)})
		if err == nil {
			err = pair.Write(l.dir, name)
		}
		if err != nil {
			t.Fatal(err)
		}
		cert, key := authority.Files("", name)
		l.write(t, name+".yml", linkConfig+"  cert_file: "+cert+"\n  key_file: "+key+"\n")
	}
	l.write(t, "ca.pem", string(a.Cert()))
	l.write(t, "access.yml", linkAccess)
	return l
}

// longer than any clock is off.
const longer = 20 * time.Hour

func (l *links) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// server returns the flags of one, as the next do of the other parts.
func (l *links) server() []string {
	if l == nil {
		return nil
	}
	return []string{l.access(), l.listens("server")}
}

func (l *links) forwarder(name string) []string {
	if l == nil {
		return nil
	}
	return append(l.dials("server", name), l.access(), l.listens(name))
}

func (l *links) receiver() []string {
	if l == nil {
		return nil
	}
	return append(l.dials("forwarder", "receiver"), l.access())
}

func (l *links) access() string { return "--access.file=" + filepath.Join(l.dir, "access.yml") }

func (l *links) listens(name string) string {
	return "--link.config.file=" + filepath.Join(l.dir, name+".yml")
}

func (l *links) dials(whom, name string) []string {
	cert, key := authority.Files(l.dir, name)
	prefix := "--" + whom + ".tls-"
	return []string{prefix + "ca-file=" + filepath.Join(l.dir, "ca.pem"), prefix + "cert-file=" + cert, prefix + "key-file=" + key}
}
