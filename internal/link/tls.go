package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/alecthomas/kingpin/v2"
)

// TLSFiles name PEM files. The zero value means no TLS.
type TLSFiles struct {
	// Cert and Key of this side. They are read again for every handshake, so
	// that they can be renewed in place.
	Cert, Key string
	// CA that the other side's certificate has to come from. A listener with
	// one asks for client certificates. It is read once.
	CA string
	// ServerName that a listener's certificate has to be for, in place of the
	// host that was dialled.
	ServerName string
}

// RegisterFlags adds the flags that begin with prefix, "link.tls" for instance.
func (f *TLSFiles) RegisterFlags(app *kingpin.Application, prefix string) {
	app.Flag(prefix+"-cert-file", "PEM certificate of this side of the link; with a key and without a CA the peer stays unchecked by listeners.").
		PlaceHolder("FILE").StringVar(&f.Cert)
	app.Flag(prefix+"-key-file", "PEM key of the certificate.").PlaceHolder("FILE").StringVar(&f.Key)
	app.Flag(prefix+"-ca-file", "PEM authorities that the peer's certificate has to come from.").PlaceHolder("FILE").StringVar(&f.CA)
	app.Flag(prefix+"-server-name", "Name in the certificate of the side that is dialled, where it is not the host dialled.").
		PlaceHolder("NAME").StringVar(&f.ServerName)
}

// ServerTLS returns the configuration of a listener, nil for the zero value.
func ServerTLS(f TLSFiles) (*tls.Config, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("link tls: a listener needs a certificate and a key")
	}
	if _, err := f.load(); err != nil {
		return nil, err
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.load() },
	}
	if f.CA != "" {
		pool, err := f.pool()
		if err != nil {
			return nil, err
		}
		c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// ClientTLS returns the configuration of a side that dials, nil for the zero
// value. Without a CA the machine's own authorities count.
func ClientTLS(f TLSFiles) (*tls.Config, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: f.ServerName}
	if f.CA != "" {
		pool, err := f.pool()
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if f.Cert != "" || f.Key != "" {
		if _, err := f.load(); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.load() }
	}
	return c, nil
}

func (f *TLSFiles) load() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("link tls: certificate %q with key %q: %w", f.Cert, f.Key, err)
	}
	return &cert, nil
}

func (f *TLSFiles) pool() (*x509.CertPool, error) {
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("link tls: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("link tls: no certificate in %s", f.CA)
	}
	return pool, nil
}

// clientConfig fills in the name that the certificate has to be for.
func clientConfig(c *tls.Config, address string) *tls.Config {
	c = c.Clone()
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(address)
	}
	return c
}
