package link

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/renew"
)

// TLSFiles name PEM files, which can be renewed in place: they are read again for
// every handshake. The zero value means no TLS.
type TLSFiles struct {
	// Cert and Key of this side.
	Cert, Key string
	// CA that the other side's certificate has to come from. A listener with
	// one asks for client certificates.
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

// TLS is a configuration that is made anew for each handshake.
type TLS = renew.Value[*tls.Config]

// ServerTLS returns the configuration of a listener, nil for the zero value. What
// goes wrong with the files later goes to the log.
func ServerTLS(f TLSFiles, logger *slog.Logger) (*TLS, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("link tls: a listener needs a certificate and a key")
	}
	return renew.New("TLS files of the listener of links", f.server, logger)
}

// ClientTLS returns the configuration of a side that dials, nil for the zero
// value. Without a CA the machine's own authorities count.
func ClientTLS(f TLSFiles, logger *slog.Logger) (*TLS, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	return renew.New("TLS files of the side that dials", f.client, logger)
}

func (f TLSFiles) server() (*tls.Config, error) {
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	if f.CA != "" {
		c.ClientCAs, c.RootCAs, c.ClientAuth = c.RootCAs, nil, tls.RequireAndVerifyClientCert
	}
	return c, nil
}

func (f TLSFiles) client() (*tls.Config, error) {
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	c.ServerName = f.ServerName
	if len(c.Certificates) > 0 { // It is given to whoever asks for one, whose authorities may change, too.
		pair := &c.Certificates[0]
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	return c, nil
}

func (f TLSFiles) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	if f.Cert != "" || f.Key != "" {
		pair, err := renew.Certificate(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("link tls: %w", err)
		}
		c.Certificates = []tls.Certificate{*pair}
	}
	if f.CA != "" {
		pool, err := renew.Authorities(f.CA)
		if err != nil {
			return nil, fmt.Errorf("link tls: %w", err)
		}
		c.RootCAs = pool
	}
	return c, nil
}

// clientConfig fills in the name that the certificate has to be for.
func clientConfig(c *tls.Config, address string) *tls.Config {
	c = c.Clone()
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(address)
	}
	return c
}
