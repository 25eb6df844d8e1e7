package metricstest

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/promgrpc/exporter/internal/authority"
)

// Certificates are those of an authority, in files.
type Certificates struct {
	t   testing.TB
	ca  *authority.Authority
	dir string
	// CA is the file of the authority.
	CA string
}

// NewCertificates makes an authority.
func NewCertificates(t testing.TB) *Certificates {
	t.Helper()
	ca, err := authority.New("test", time.Hour)
	c := &Certificates{t: t, ca: ca, dir: t.TempDir()}
	if err == nil {
		c.CA = filepath.Join(c.dir, "ca.pem")
		err = os.WriteFile(c.CA, ca.Cert(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Issue makes a certificate for names, in files.
func (c *Certificates) Issue(file string, names ...string) (cert, key string) {
	c.t.Helper()
	pair, err := c.ca.Issue(authority.Request{Names: names})
	if err == nil {
		err = pair.Write(c.dir, file)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return filepath.Join(c.dir, file+".pem"), filepath.Join(c.dir, file+"-key.pem")
}

// Mutual is of a server with a certificate for names, which wants one of the authority
// of its clients.
func (c *Certificates) Mutual(names ...string) *tls.Config {
	c.t.Helper()
	cert, key := c.Issue("server", names...)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		c.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: c.ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
}
