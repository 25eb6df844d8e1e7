package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/webconfig"
)

// issuer is an authority that has its certificates in a folder.
type issuer struct {
	*authority.Authority
	dir string
}

func newIssuer(t *testing.T) issuer {
	t.Helper()
	a, err := authority.New("test authority", time.Hour)
	require.NoError(t, err)
	i := issuer{a, t.TempDir()}
	require.NoError(t, os.WriteFile(i.file("ca.pem"), a.Cert(), 0o600))
	return i
}

func (i issuer) file(name string) string { return filepath.Join(i.dir, name) }

// issue returns the files of a certificate for a name and the loopback address.
func (i issuer) issue(t *testing.T, name string) renew.TLSFiles {
	t.Helper()
	pair, err := i.Issue(authority.Request{Names: []string{name, "127.0.0.1"}})
	require.NoError(t, err)
	require.NoError(t, pair.Write(i.dir, name))
	cert, key := authority.Files(i.dir, name)
	return renew.TLSFiles{Cert: cert, Key: key, CA: i.file("ca.pem")}
}

// listening is the trust of a listener whose web configuration file has these files.
func listening(t *testing.T, f renew.TLSFiles) Trust {
	t.Helper()
	if f == (renew.TLSFiles{}) {
		return Trust{}
	}
	text := fmt.Sprintf("tls_server_config:\n  min_version: TLS10\n  cert_file: %q\n  key_file: %q\n", f.Cert, f.Key)
	if f.CA != "" {
		text += fmt.Sprintf("  client_ca_file: %q\n  client_auth_type: RequireAndVerifyClientCert\n", f.CA)
	}
	file := filepath.Join(t.TempDir(), "link.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	config, err := webconfig.OpenTLS(FlagConfigFile, file, nil)
	require.NoError(t, err)
	return Listening(config, nil, "")
}

func serveTLS(t *testing.T, f renew.TLSFiles) *server {
	t.Helper()
	return serve(t, Options{Trust: listening(t, f), HandshakeTimeout: time.Second}, echo)
}

func dialTLS(t *testing.T, addr string, f renew.TLSFiles) (*Conn, error) {
	t.Helper()
	config, err := f.Dialer(nil)
	require.NoError(t, err)
	c, _, err := Dial(context.Background(), addr, hello(), Options{Trust: Trust{TLS: config.Getter()}})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func TestMutualTLS(t *testing.T) {
	a := newIssuer(t)
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
	_, err = dialTLS(t, s.addr, newIssuer(t).issue(t, "client"))
	require.Error(t, err, "with a certificate of a stranger")
	_, _, err = Dial(context.Background(), s.addr, hello(), Options{})
	require.Error(t, err, "without TLS")
	require.Eventually(t, func() bool { return s.rejected(reasonTLS) >= 3 }, 30*time.Second, 10*time.Millisecond)
	roundTrip(t, c, 100)
}

// Either side knows the names in the other's certificate, and takes none for proved that
// it did not verify.
func TestIdentity(t *testing.T) {
	i := newIssuer(t)
	listener, client := i.issue(t, "listener"), i.issue(t, "client")
	seen := make(chan []string, 1)
	handler := func(ctx context.Context, c *Conn, h *linkv1.Hello) error {
		seen <- c.Identity().Names
		return echo(ctx, c, h)
	}
	for _, c := range []struct {
		listener, dialler   renew.TLSFiles
		wantDialler, wantBy []string
	}{
		{listener, client, []string{"client", "127.0.0.1"}, []string{"listener", "127.0.0.1"}},
		{renew.TLSFiles{Cert: listener.Cert, Key: listener.Key}, client, nil, []string{"listener", "127.0.0.1"}},
		{renew.TLSFiles{}, renew.TLSFiles{}, nil, nil},
	} {
		s := serve(t, Options{Trust: listening(t, c.listener)}, handler)
		conn, err := dialTLS(t, s.addr, c.dialler)
		require.NoError(t, err)
		require.Equal(t, c.wantBy, conn.Identity().Names)
		require.Equal(t, c.wantDialler, <-seen)
	}
}

func TestServerTLSOnly(t *testing.T) {
	a := newIssuer(t)
	f := a.issue(t, "listener")
	s := serveTLS(t, renew.TLSFiles{Cert: f.Cert, Key: f.Key})
	c, err := dialTLS(t, s.addr, renew.TLSFiles{CA: f.CA})
	require.NoError(t, err)
	roundTrip(t, c, 100)

	// A renewed certificate counts from the next handshake on.
	b := newIssuer(t)
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

// The oldest version that a file allows does not count.
func TestOlderTLSIsRefused(t *testing.T) {
	f := newIssuer(t).issue(t, "listener")
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
	old, renewed := newIssuer(t), newIssuer(t)
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
		c, _, err := Dial(t.Context(), s.addr, hello(), Options{Trust: Trust{TLS: config.Getter()}})
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
	f := newIssuer(t).issue(t, "dialler")
	dialler := func(f renew.TLSFiles) error { _, err := f.Dialer(nil); return err }
	require.NoError(t, dialler(renew.TLSFiles{}))
	require.NoError(t, dialler(f))
	require.ErrorContains(t, dialler(renew.TLSFiles{Cert: f.Cert}), "belong together")
	require.ErrorContains(t, dialler(renew.TLSFiles{Cert: f.Cert, Key: "gone.key"}), "gone.key")
	require.ErrorContains(t, dialler(renew.TLSFiles{Cert: f.Cert, Key: f.Key, CA: "gone.pem"}), "gone.pem")
	require.ErrorContains(t, dialler(renew.TLSFiles{Cert: f.Cert, Key: f.Key, CA: f.Key}), "no certificate")
}
