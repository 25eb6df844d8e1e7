package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/renew"
)

// authority makes certificates in a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a := &authority{dir: t.TempDir(), cert: cert, key: key}
	writePEM(t, a.file("ca.pem"), "CERTIFICATE", der)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) issue(t *testing.T, name string) renew.TLSFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	f := renew.TLSFiles{Cert: a.file(name + ".pem"), Key: a.file(name + ".key"), CA: a.file("ca.pem")}
	writePEM(t, f.Cert, "CERTIFICATE", der)
	writePEM(t, f.Key, "EC PRIVATE KEY", keyDER)
	return f
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func serveTLS(t *testing.T, f renew.TLSFiles) *server {
	t.Helper()
	config, err := f.Listener(nil)
	require.NoError(t, err)
	return serve(t, Options{TLS: config, HandshakeTimeout: time.Second}, echo)
}

func dialTLS(t *testing.T, addr string, f renew.TLSFiles) (*Conn, error) {
	t.Helper()
	config, err := f.Dialer(nil)
	require.NoError(t, err)
	c, _, err := Dial(context.Background(), addr, hello(), Options{TLS: config})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func TestMutualTLS(t *testing.T) {
	a := newAuthority(t)
	s := serveTLS(t, a.issue(t, "listener"))
	client := a.issue(t, "client")

	c, err := dialTLS(t, s.addr, client)
	require.NoError(t, err)
	roundTrip(t, c, 3<<20)

	client.ServerName = "listener"
	_, err = dialTLS(t, s.addr, client)
	require.NoError(t, err)
	client.ServerName = "somebody.else"
	_, err = dialTLS(t, s.addr, client)
	require.ErrorContains(t, err, "somebody.else")
	_, err = dialTLS(t, s.addr, renew.TLSFiles{CA: client.CA})
	require.Error(t, err, "without a client certificate")
	_, err = dialTLS(t, s.addr, newAuthority(t).issue(t, "client"))
	require.Error(t, err, "with a certificate of a stranger")
	_, _, err = Dial(context.Background(), s.addr, hello(), Options{})
	require.Error(t, err, "without TLS")
	require.Eventually(t, func() bool { return s.rejected(reasonTLS) >= 3 }, 30*time.Second, 10*time.Millisecond)
	roundTrip(t, c, 100)
}

func TestServerTLSOnly(t *testing.T) {
	a := newAuthority(t)
	f := a.issue(t, "listener")
	s := serveTLS(t, renew.TLSFiles{Cert: f.Cert, Key: f.Key})
	c, err := dialTLS(t, s.addr, renew.TLSFiles{CA: f.CA})
	require.NoError(t, err)
	roundTrip(t, c, 100)

	// A renewed certificate counts from the next handshake on.
	b := newAuthority(t)
	renewed := b.issue(t, "listener")
	for from, to := range map[string]string{renewed.Cert: f.Cert, renewed.Key: f.Key} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to, data, 0o600))
	}
	_, err = dialTLS(t, s.addr, renew.TLSFiles{CA: f.CA})
	require.Error(t, err)
	_, err = dialTLS(t, s.addr, renew.TLSFiles{CA: renewed.CA})
	require.NoError(t, err)
}

func TestOlderTLSIsRefused(t *testing.T) {
	f := newAuthority(t).issue(t, "listener")
	s := serveTLS(t, renew.TLSFiles{Cert: f.Cert, Key: f.Key})
	config, err := renew.TLSFiles{CA: f.CA, ServerName: "listener"}.Dial()
	require.NoError(t, err)
	for version, ok := range map[uint16]bool{tls.VersionTLS12: false, tls.VersionTLS13: true} {
		config.MinVersion, config.MaxVersion = version, version
		conn, err := tls.Dial("tcp", s.addr, config)
		require.Equal(t, ok, err == nil, "%s: %v", tls.VersionName(version), err)
		if ok {
			require.NoError(t, conn.Close())
		}
	}
}

// copyFiles renews files in place.
func copyFiles(t *testing.T, from, to renew.TLSFiles) {
	t.Helper()
	for from, to := range map[string]string{from.Cert: to.Cert, from.Key: to.Key, from.CA: to.CA} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to, data, 0o600))
	}
}

// All files of both sides are renewed in place, one side after the other, by those
// of another authority. Files that cannot be read change nothing.
func TestRenewedAuthority(t *testing.T) {
	old, renewed := newAuthority(t), newAuthority(t)
	listener, client := old.issue(t, "listener"), old.issue(t, "client")
	newListener, newClient, stranger := renewed.issue(t, "listener"), renewed.issue(t, "client"), old.issue(t, "stranger")
	clientCA := old.file("ca of the client.pem")
	copyFiles(t, client, renew.TLSFiles{Cert: client.Cert, Key: client.Key, CA: clientCA})
	client.CA = clientCA
	stranger.CA = newListener.CA
	s := serveTLS(t, listener)
	config, err := client.Dialer(nil)
	require.NoError(t, err)
	dial := func() error {
		c, _, err := Dial(t.Context(), s.addr, hello(), Options{TLS: config})
		if err == nil {
			require.NoError(t, c.Close())
		}
		return err
	}
	require.NoError(t, dial())

	copyFiles(t, newListener, listener)
	require.Error(t, dial(), "the listener has both another certificate and another authority")
	copyFiles(t, newClient, client)
	require.NoError(t, dial())
	_, err = dialTLS(t, s.addr, stranger)
	require.Error(t, err, "of the authority that counted before")

	for _, file := range []string{listener.CA, client.CA, listener.Key, client.Cert} {
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, dial(), "what was before stays")
		require.NoError(t, os.Remove(file))
		require.NoError(t, dial(), "what was before stays")
	}
}

func TestTLSFiles(t *testing.T) {
	a := newAuthority(t)
	f := a.issue(t, "listener")
	for name, config := range map[string]func(renew.TLSFiles) error{
		"server": func(f renew.TLSFiles) error { _, err := f.Listener(nil); return err },
		"client": func(f renew.TLSFiles) error { _, err := f.Dialer(nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, config(renew.TLSFiles{}))
			require.NoError(t, config(f))
			require.ErrorContains(t, config(renew.TLSFiles{Cert: f.Cert, Key: "gone.key"}), "gone.key")
			require.ErrorContains(t, config(renew.TLSFiles{Cert: f.Cert, Key: f.Key, CA: "gone.pem"}), "gone.pem")
			require.ErrorContains(t, config(renew.TLSFiles{Cert: f.Cert, Key: f.Key, CA: f.Key}), "no certificate")
		})
	}
	_, err := renew.TLSFiles{CA: f.CA}.Listener(nil)
	require.ErrorContains(t, err, "needs a certificate and a key")
}
