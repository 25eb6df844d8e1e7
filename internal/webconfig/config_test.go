package webconfig

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/usage"
)

// folder has an authority, and files that a web configuration names.
type folder struct {
	t   *testing.T
	dir string
	ca  *authority.Authority
}

func newFolder(t *testing.T) *folder {
	t.Helper()
	f := &folder{t: t, dir: t.TempDir(), ca: newAuthority(t)}
	f.issue("server", "localhost", "127.0.0.1")
	f.write("ca.pem", string(f.ca.Cert()))
	return f
}

func newAuthority(t *testing.T) *authority.Authority {
	t.Helper()
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	return a
}

func (f *folder) issue(file string, names ...string) *authority.Pair {
	f.t.Helper()
	pair, err := f.ca.Issue(authority.Request{Names: names})
	require.NoError(f.t, err)
	require.NoError(f.t, pair.Write(f.dir, file))
	return pair
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f *folder) write(name, text string) string {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(f.path(name), []byte(text), 0o600))
	return f.path(name)
}

const (
	withTLS  = "tls_server_config:\n  cert_file: server.pem\n  key_file: server-key.pem\n"
	withCA   = withTLS + "  client_ca_file: ca.pem\n"
	withMTLS = withCA + "  client_auth_type: RequireAndVerifyClientCert\n"
)

// usersOf returns a file's users, whose passwords are cheap to check.
func usersOf(t *testing.T, passwords map[string]string) string {
	t.Helper()
	text := "basic_auth_users:\n"
	for name, password := range passwords {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		require.NoError(t, err)
		text += fmt.Sprintf("  %s: %s\n", name, hash)
	}
	return text
}

// logged is a log that a test reads while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func TestFiles(t *testing.T) {
	f := newFolder(t)
	f.write("empty.pem", "")
	for name, test := range map[string]struct {
		text, refused                string
		tls, certificates, passwords bool
	}{
		"nothing":             {text: "{}"},
		"TLS":                 {text: withTLS, tls: true},
		"clients":             {text: withMTLS, tls: true, certificates: true},
		"clients if they can": {text: withCA + "  client_auth_type: VerifyClientCertIfGiven\n", tls: true},
		"users":               {text: usersOf(t, map[string]string{"me": "secret"}), passwords: true},
		"headers":             {text: "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"},

		"no YAML":                {text: ":", refused: "yaml"},
		"an unknown field":       {text: "nonsense: 1\n", refused: "line 1: field nonsense not found"},
		"a field twice":          {text: "rate_limit: {}\nrate_limit: {}\n", refused: "already set"},
		"a password in clear":    {text: "basic_auth_users:\n  me: secret\n", refused: `user "me"`},
		"an unknown header":      {text: "http_server_config:\n  headers:\n    X-Mine: deny\n", refused: "X-Mine"},
		"no key":                 {text: "tls_server_config:\n  cert_file: server.pem\n", refused: "key_file"},
		"no such certificate":    {text: strings.ReplaceAll(withTLS, "server.pem", "other.pem"), refused: "other.pem"},
		"an unknown version":     {text: withTLS + "  min_version: TLS14\n", refused: "TLS14"},
		"an unknown client auth": {text: withCA + "  client_auth_type: Some\n", refused: "Some"},
		"a CA for nothing":       {text: withCA, refused: "Client Auth Policy"},
		"a CA without one":       {text: strings.ReplaceAll(withMTLS, "ca.pem", "empty.pem"), refused: "no certificate in the client CA"},
		"clients of any CA":      {text: withTLS + "  client_auth_type: RequireAndVerifyClientCert\n", refused: "needs a client_ca_file"},
		"any of any CA":          {text: withTLS + "  client_auth_type: VerifyClientCertIfGiven\n", refused: "needs a client_ca_file"},
		"SANs of anybody":        {text: withCA + "  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [me]\n", refused: "client_allowed_sans"},
		"a rate of nothing":      {text: "rate_limit:\n  interval: 1s\n", refused: "rate_limit"},
	} {
		t.Run(name, func(t *testing.T) {
			path := f.write("web.yml", test.text)
			c, err := Open("--web.config.file", path, slog.New(slog.DiscardHandler))
			if test.refused != "" {
				var mistake *usage.Error
				require.ErrorAs(t, err, &mistake)
				require.ErrorContains(t, err, "--web.config.file "+path)
				require.ErrorContains(t, err, test.refused)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.tls, c.SecuresTLS())
			require.Equal(t, test.tls, c.TLS() != nil)
			require.Equal(t, test.certificates, c.RequiresCertificates())
			require.Equal(t, test.passwords, c.RequiresPasswords())
		})
	}
	c, err := Open("--web.config.file", "", nil)
	require.NoError(t, err)
	require.False(t, c.SecuresTLS())
	require.False(t, c.RequiresCertificates())
	require.False(t, c.RequiresPasswords())
	require.Nil(t, c.Again())
	_, err = Open("--web.config.file", f.path("none.yml"), slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A listener that is not HTTP takes nothing that it would not do.
func TestOnlyTLS(t *testing.T) {
	f := newFolder(t)
	for text, refused := range map[string]string{
		withMTLS: "", withTLS: "", "{}": "no tls_server_config",
		withTLS + usersOf(t, map[string]string{"me": "secret"}):                  "only tls_server_config",
		withTLS + "rate_limit:\n  interval: 1s\n  burst: 1\n":                    "only tls_server_config",
		withTLS + "http_server_config:\n  headers:\n    X-Frame-Options: deny\n": "only tls_server_config",
	} {
		c, err := OpenTLS("--link.config.file", f.write("web.yml", text), slog.New(slog.DiscardHandler))
		if refused != "" {
			require.ErrorContains(t, err, refused)
			continue
		}
		require.NoError(t, err)
		require.Empty(t, c.TLS().NextProtos)
	}
}

// What holds is what the files say; what cannot be read leaves what was, and is told of
// once.
func TestFilesAreRenewed(t *testing.T) {
	f := newFolder(t)
	path := f.write("web.yml", withMTLS)
	var log logged
	c, err := Open("--web.config.file", path, log.logger())
	require.NoError(t, err)
	again := c.Again()
	first := c.TLS().Certificates[0].Leaf.SerialNumber
	f.issue("server", "localhost")
	second := c.TLS().Certificates[0].Leaf.SerialNumber
	require.NotEqual(t, first, second)
	require.NoError(t, again())

	pool := c.TLS().ClientCAs
	f.write("ca.pem", string(newAuthority(t).Cert()))
	require.False(t, pool.Equal(c.TLS().ClientCAs))

	for what, break_ := range map[string]func(){
		"no YAML":         func() { f.write("web.yml", "nonsense: 1\n") },
		"no file":         func() { require.NoError(t, os.Remove(path)) },
		"no certificate":  func() { f.write("web.yml", withMTLS); require.NoError(t, os.Remove(f.path("server.pem"))) },
		"no CA":           func() { f.write("web.yml", withMTLS); f.write("ca.pem", "") },
		"no TLS any more": func() { f.write("web.yml", "{}") },
	} {
		before := log.count("cannot be reloaded")
		break_()
		for range 3 {
			require.Equal(t, second, c.TLS().Certificates[0].Leaf.SerialNumber, what)
			require.True(t, c.RequiresCertificates(), what)
		}
		require.Error(t, again(), what)
		require.Equal(t, before+1, log.count("cannot be reloaded"), what)
		f.write("web.yml", withMTLS)
		f.write("ca.pem", string(f.ca.Cert()))
		f.issue("server", "localhost")
		require.NoError(t, again(), what)
		second = c.TLS().Certificates[0].Leaf.SerialNumber
	}
}

// TLS that comes later would leave open what looks closed.
func TestTLSIsDecidedAtTheStart(t *testing.T) {
	f := newFolder(t)
	path := f.write("web.yml", "{}")
	c, err := Open("--web.config.file", path, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	f.write("web.yml", withTLS)
	require.ErrorContains(t, c.Again()(), "a restart is needed")
	require.Nil(t, c.TLS())
}

// A file that was cut off while it is written must not let everybody in.
func TestProtectionIsNotLost(t *testing.T) {
	const ask, sans = "  client_auth_type: ", "  client_allowed_sans: [me]\n"
	users := usersOf(t, map[string]string{"me": "secret"})
	for name, test := range map[string]struct{ before, after, refused string }{
		"users":                 {before: users, after: "{}", refused: "no basic_auth_users any more"},
		"all of it":             {before: users, after: "", refused: "no basic_auth_users any more"},
		"users beside TLS":      {before: withTLS + users, after: withTLS, refused: "no basic_auth_users any more"},
		"certificates":          {before: withMTLS, after: withTLS, refused: "no client certificates any more"},
		"certificates required": {before: withMTLS, after: withCA + ask + "VerifyClientCertIfGiven\n", refused: "no client certificates any more"},
		"names in certificates": {before: withMTLS + sans, after: withMTLS, refused: "no client_allowed_sans any more"},
		"other users":           {before: users, after: usersOf(t, map[string]string{"you": "secret"})},
		"more":                  {before: withTLS, after: withMTLS + sans + users},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			path := f.write("web.yml", test.before)
			c, err := Open("--web.config.file", path, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			passwords, certificates := c.RequiresPasswords(), c.RequiresCertificates()
			f.write("web.yml", test.after)
			if test.refused == "" {
				require.NoError(t, c.Again()())
				return
			}
			require.ErrorContains(t, c.Again()(), test.refused)
			require.Equal(t, passwords, c.RequiresPasswords())
			require.Equal(t, certificates, c.RequiresCertificates())
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"{}", withMTLS, "basic_auth_users:\n  me: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC\n",
		"rate_limit:\n  interval: 1s\n  burst: 5\n", "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n",
		withTLS + "  min_version: TLS13\n  curve_preferences: [X25519]\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(text)
		if err != nil {
			return
		}
		for name, hash := range c.Users {
			if _, err := bcrypt.Cost([]byte(hash)); err != nil {
				t.Errorf("user %q: %v", name, err)
			}
		}
		if r := c.RateLimiterConfig; r.Interval < 0 || r.Interval > 0 && r.Burst < 1 {
			t.Errorf("a rate that lets nobody in: %+v", r)
		}
	})
}
