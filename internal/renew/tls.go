package renew

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/alecthomas/kingpin/v2"
)

// TLSFiles name PEM files of the side that dials. They are read again for every
// handshake. The zero value means no TLS.
type TLSFiles struct {
	// Cert and Key of this side.
	Cert, Key string
	// CA that the other side's certificate has to come from.
	CA string
	// ServerName that a listener's certificate has to be for, in place of the
	// host that was dialled.
	ServerName string
}

// minVersion holds for whatever we dial: the other end is ours, or it is what takes
// calls in front of our servers, which can do 1.3 as well.
const minVersion = tls.VersionTLS13

// RegisterFlags adds the flags that begin with prefix, "server." for instance.
func (f *TLSFiles) RegisterFlags(app *kingpin.Application, prefix string) {
	app.Flag(prefix+"tls-cert-file", "PEM certificate to show to the side that is dialled.").
		PlaceHolder("FILE").StringVar(&f.Cert)
	app.Flag(prefix+"tls-key-file", "PEM key of the certificate.").PlaceHolder("FILE").StringVar(&f.Key)
	app.Flag(prefix+"tls-ca-file", "PEM authorities that the peer's certificate has to come from.").PlaceHolder("FILE").StringVar(&f.CA)
	app.Flag(prefix+"tls-server-name", "Name in the certificate of the side that is dialled, where it is not the host dialled.").
		PlaceHolder("NAME").StringVar(&f.ServerName)
}

// TLS is a configuration that is made again for each handshake.
type TLS = Value[*tls.Config]

// Dialer returns the configuration of a side that dials, nil for the zero value.
func (f TLSFiles) Dialer(logger *slog.Logger) (*TLS, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	return New("TLS files of the side that dials", f.Dial, logger)
}

// Dial reads the files for a connection that is dialled. Without a CA the machine's
// own authorities count.
func (f TLSFiles) Dial() (*tls.Config, error) {
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
	c := &tls.Config{MinVersion: minVersion}
	if f.Cert != "" || f.Key != "" {
		pair, err := Certificate(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if f.CA != "" {
		pool, err := authorities(f.CA)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		c.RootCAs = pool
	}
	return c, nil
}

// Certificate reads a certificate with its key from PEM files.
func Certificate(cert, key string) (tls.Certificate, error) {
	if (cert == "") != (key == "") {
		return tls.Certificate{}, errors.New("the files of a certificate and of its key belong together")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %q with key %q: %w", cert, key, err)
	}
	return pair, nil
}

// authorities reads the certificates of authorities from a PEM file.
func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return pool, nil
}
