package e2e

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/promgrpc/exporter/internal/authority"
)

// mutualTLS is of a web configuration file that asks for certificates, but for its own.
const mutualTLS = "tls_server_config:\n  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"

// certificates are those of one authority, in files of a folder.
type certificates struct {
	t   *testing.T
	ca  *authority.Authority
	dir string
}

// newCertificates makes an authority, whose certificate is in ca.pem.
func newCertificates(t *testing.T, dir string) certificates {
	t.Helper()
	c := certificates{t: t, dir: dir}
	var err error
	if c.ca, err = authority.New("test", time.Hour); err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(c.authority(), c.ca.Cert(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// issue makes a certificate for names, and returns its files.
func (c certificates) issue(file string, names ...string) (cert, key string) {
	c.t.Helper()
	pair, err := c.ca.Issue(authority.Request{Names: names})
	if err == nil {
		err = pair.Write(c.dir, file)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return authority.Files(c.dir, file)
}

// listening is the text of a web configuration file with a certificate for names, beside
// that certificate.
func (c certificates) listening(name string, names ...string) string {
	c.t.Helper()
	c.issue(name, names...)
	return mutualTLS + "  cert_file: " + name + ".pem\n  key_file: " + name + "-key.pem\n"
}

func (c certificates) authority() string { return filepath.Join(c.dir, "ca.pem") }

func (c certificates) pool() *x509.CertPool { return c.ca.Pool() }
