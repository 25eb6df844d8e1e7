package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := New("test", time.Hour)
	require.NoError(t, err)
	return a
}

func issue(t *testing.T, a *Authority, r Request) *x509.Certificate {
	t.Helper()
	pair, err := a.Issue(r)
	require.NoError(t, err)
	c, err := pair.TLS()
	require.NoError(t, err)
	return c.Leaf
}

func verify(a *Authority, leaf *x509.Certificate, name string, use x509.ExtKeyUsage) error {
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

func TestIssued(t *testing.T) {
	a := newAuthority(t)
	names := []string{"spiffe://promgrpc/server", "server.example.org", "*.wild.example.org", "192.0.2.1", "2001:db8::1"}
	leaf := issue(t, a, Request{Names: names})
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		for _, name := range []string{"server.example.org", "any.wild.example.org", "192.0.2.1", "[2001:db8::1]"} {
			require.NoError(t, verify(a, leaf, name, use), name)
		}
		require.Error(t, verify(a, leaf, "other.example.org", use))
		require.Error(t, verify(newAuthority(t), leaf, "", use), "of another authority that has the same name")
	}
	require.Len(t, leaf.URIs, 1)
	require.Equal(t, names[0], leaf.URIs[0].String())
	require.Equal(t, names[0], leaf.Subject.CommonName)
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	require.True(t, ok)
	require.Equal(t, elliptic.P256(), key.Curve)
	require.False(t, leaf.IsCA)
	require.NotEqual(t, leaf.SerialNumber, issue(t, a, Request{Names: names}).SerialNumber)
}

func TestLifetime(t *testing.T) {
	a := newAuthority(t)
	now := time.Now()
	for name, c := range map[string]struct {
		request Request
		end     time.Time
		good    bool
	}{
		"as long as the authority": {Request{}, now.Add(time.Hour), true},
		"minutes":                  {Request{Lifetime: time.Minute}, now.Add(time.Minute), true},
		"beyond the authority":     {Request{Lifetime: 2 * time.Hour}, now.Add(time.Hour), true},
		"expired":                  {Request{NotBefore: now.Add(-time.Hour), Lifetime: time.Minute}, now.Add(-59 * time.Minute), false},
		"not yet":                  {Request{NotBefore: now.Add(30 * time.Minute)}, now.Add(time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.Names = []string{"localhost"}
			leaf := issue(t, a, c.request)
			require.WithinDuration(t, c.end, leaf.NotAfter, 30*time.Second)
			require.Equal(t, c.good, verify(a, leaf, "localhost", x509.ExtKeyUsageServerAuth) == nil)
		})
	}
	ended, err := New("test", -time.Minute)
	require.NoError(t, err)
	_, err = ended.Issue(Request{Names: []string{"localhost"}})
	require.ErrorContains(t, err, "can issue nothing")
}

func TestNames(t *testing.T) {
	a := newAuthority(t)
	for _, names := range [][]string{nil, {""}, {"a b"}, {"localhost:80"}, {"path/x"}, {"spiffe://a b/\x00"}, {"ü.example.org"}} {
		_, err := a.Issue(Request{Names: names})
		require.Error(t, err, "%q", names)
	}
}

func TestLoad(t *testing.T) {
	a := newAuthority(t)
	loaded, err := Load(a.Pair().Cert, a.Pair().Key)
	require.NoError(t, err)
	require.NoError(t, verify(a, issue(t, loaded, Request{Names: []string{"localhost"}}), "localhost", x509.ExtKeyUsageServerAuth))

	leaf, err := a.Issue(Request{Names: []string{"localhost"}})
	require.NoError(t, err)
	_, err = Load(leaf.Cert, leaf.Key)
	require.ErrorContains(t, err, "may not issue any")
	_, err = Load(a.Cert(), newAuthority(t).Pair().Key)
	require.Error(t, err, "the key of another")
	_, err = Load(nil, nil)
	require.Error(t, err)
}

// A key is its owner's alone, and a link that somebody put there is replaced, not followed.
func TestWrite(t *testing.T) {
	pair, err := newAuthority(t).Issue(Request{Names: []string{"localhost"}})
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "certs")
	require.NoError(t, pair.Write(dir, "server"))
	cert, key := Files(dir, "server")
	require.NoError(t, os.Remove(key))
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	require.NoError(t, os.Symlink(elsewhere, key))
	require.NoError(t, pair.Write(dir, "server"))
	require.NoFileExists(t, elsewhere)

	for name, want := range map[string]struct {
		mode os.FileMode
		data []byte
	}{dir: {os.ModeDir | 0o700, nil}, cert: {0o644, pair.Cert}, key: {0o600, pair.Key}} {
		info, err := os.Lstat(name)
		require.NoError(t, err)
		require.Equal(t, want.mode, info.Mode(), name)
		if want.data != nil {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, want.data, data)
		}
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.Error(t, pair.Write(filepath.Join(cert, "no folder"), "server"))

	require.ErrorIs(t, pair.Create(dir, "server"), os.ErrExist)
	require.NoError(t, pair.Create(dir, "other"))
	require.NoError(t, pair.WriteBundle(dir, "server"))
	bundle, err := tls.LoadX509KeyPair(filepath.Join(dir, "server-bundle.pem"), filepath.Join(dir, "server-bundle.pem"))
	require.NoError(t, err)
	require.Equal(t, "localhost", bundle.Leaf.Subject.CommonName)
	entries, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 5, "nothing is left of what failed")
}
