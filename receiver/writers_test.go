package receiver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/tenant"
	"github.com/promgrpc/exporter/internal/usage"
)

const policies = `
roles:
  proxy: [spiffe://test/proxy]
policies:
- name: a
  token_files: [a.token]
  users: [alice]
  certificates: [spiffe://test/a]
  write: {tenant: a}
- name: anything
  token_files: [anything.token]
  write: {}
- name: reader
  token_files: [reader.token]
  users: [rita]
  certificates: [spiffe://test/reader]
  read: {}
`

// accessFolder has an access file and the tokens that it names, and returns the file.
func accessFolder(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"a", "anything", "reader"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".token"), []byte("secret-of-"+name), 0o600))
	}
	path := filepath.Join(dir, "access.yml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// webFile is a web configuration file with users whose passwords are their names.
func webFile(t *testing.T, text string, users ...string) string {
	t.Helper()
	if len(users) > 0 {
		text += "basic_auth_users:\n"
	}
	for _, name := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(name), bcrypt.MinCost)
		require.NoError(t, err)
		text += fmt.Sprintf("  %s: %s\n", name, hash)
	}
	path := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func bearer(name string) []string { return []string{"Authorization", "Bearer secret-of-" + name} }

func basic(name, password string) []string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(name, password)
	return []string{"Authorization", r.Header.Get("Authorization")}
}

// writing is a request of somebody, and what becomes of it.
type writing struct {
	name   string
	who    []string // header
	tenant string   // that is asked for
	status int
	as     string // tenant that is stored
	reason string // that is counted
	text   string
}

// writeAll sends the requests, with remote write 1.0 and 2.0.
func (r *running) writeAll(t *testing.T, f *fakeForwarder, requests []writing) {
	t.Helper()
	for _, w := range requests {
		for _, contentType := range []string{typeV1, typeV2} {
			before, counted := len(f.got()), r.denied(t, w.reason)
			a := r.post(t, contentType, block("x"), append(w.who, tenant.Header, w.tenant)...)
			require.Equal(t, w.status, a.code, "%s: %s", w.name, a.body)
			require.Contains(t, a.body, w.text, w.name)
			require.Equal(t, w.status == http.StatusUnauthorized, a.header.Get("WWW-Authenticate") != "", w.name)
			if w.status != http.StatusNoContent {
				require.Len(t, f.got(), before, w.name)
				require.NotContains(t, a.body, "secret-of", w.name)
				if w.reason != "" {
					require.Equal(t, counted+1, r.denied(t, w.reason), w.name)
				}
				continue
			}
			got := f.got()[before]
			require.Equal(t, w.as, got.GetTenant().GetValue(), w.name)
			require.Equal(t, w.as != "", got.GetTenant() != nil, w.name)
		}
	}
	require.NotContains(t, r.log.String(), "secret-of")
}

// denied is how many requests were counted by a reason.
func (r *running) denied(t *testing.T, reason string) (n int) {
	t.Helper()
	families, err := r.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "promgrpc_receiver_denied_requests_total" && m.GetLabel()[0].GetValue() == reason {
				n += int(m.GetCounter().GetValue())
			}
		}
	}
	return n
}

// Who has a policy writes as it says. Others are told what they need.
func TestWriters(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, func(c *Config) {
		c.AccessFile, c.TenantLabel = accessFolder(t, policies), "team"
		c.WebConfigFile = webFile(t, "", "alice", "rita", "ulf")
	}, f)
	const later, never = http.StatusUnauthorized, http.StatusForbidden
	r.writeAll(t, f, []writing{
		{"a token", bearer("a"), "", 204, "a", "", ""},
		{"a token, by the right tenant", bearer("a"), "a", 204, "a", "", ""},
		{"a token, by another tenant", bearer("a"), "b", never, "", "other_tenant", `policy a writes as the tenant "a"`},
		{"a token, by several tenants", bearer("a"), "a|b", 400, "", "", "several tenants"},
		{"a token that may be any tenant", bearer("anything"), "b", 204, "b", "", ""},
		{"a token that need not be one", bearer("anything"), "", 204, "", "", ""},
		{"a token for reading", bearer("reader"), "", never, "", "no_right", "policy reader does not have write"},
		{"a wrong token", bearer("nobody"), "", later, "", "unknown_token", "token"},
		{"no token after all", []string{"Authorization", "Bearer "}, "", later, "", "", "the bearer token is empty"},
		{"a user", basic("alice", "alice"), "", 204, "a", "", ""},
		{"a user, by another tenant", basic("alice", "alice"), "b", never, "", "other_tenant", "leave it out"},
		{"a user with a wrong password", basic("alice", "bob"), "", later, "", "", ""},
		{"a user who may read", basic("rita", "rita"), "", never, "", "no_right", "policy reader"},
		{"a user without a policy", basic("ulf", "ulf"), "", never, "", "unknown_user", "user ulf has no policy"},
		{"nobody", nil, "", later, "", "", ""},
	})
	require.Contains(t, r.log.String(), "request refused")

	// A token is proved where remote write is, and nowhere else.
	for _, name := range []string{"a", "nobody"} {
		require.Equal(t, http.StatusUnauthorized, r.do(t, http.MethodGet, "/metrics", "", nil, bearer(name)...).code)
		require.Equal(t, http.StatusUnauthorized, r.do(t, http.MethodPost, "//api/v1/write", typeV1, bytes.NewReader(block("x")), bearer(name)...).code)
	}
	require.Equal(t, http.StatusOK, r.do(t, http.MethodGet, "/metrics", "", nil, basic("rita", "rita")...).code)
	require.Equal(t, http.StatusOK, r.do(t, http.MethodGet, "/-/ready", "", nil).code)
}

// The same by certificates, and without any credential.
func TestWritersWithCertificates(t *testing.T) {
	ca, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	dir := t.TempDir()
	pair, err := ca.Issue(authority.Request{Names: []string{"127.0.0.1"}})
	require.NoError(t, err)
	require.NoError(t, pair.Write(dir, "receiver"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), ca.Cert(), 0o600))
	cert, key := authority.Files(dir, "receiver")
	web := fmt.Sprintf("tls_server_config:\n  cert_file: %s\n  key_file: %s\n  client_ca_file: %s\n  client_auth_type: VerifyClientCertIfGiven\n",
		cert, key, filepath.Join(dir, "ca.pem"))
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, func(c *Config) {
		c.AccessFile, c.TenantLabel, c.WebConfigFile = accessFolder(t, policies), "team", webFile(t, web)
	}, f)
	r.url = "https://" + r.WebAddr().String()
	for _, test := range []struct {
		certificate string
		requests    []writing
	}{
		{"spiffe://test/a", []writing{
			{"a certificate", nil, "", 204, "a", "", ""},
			{"a certificate, by another tenant", nil, "b", 403, "", "other_tenant", "policy a"},
			{"a wrong token besides", bearer("nobody"), "", 401, "", "unknown_token", "token"},
			{"a token besides", bearer("anything"), "b", 204, "b", "", ""},
		}},
		{"spiffe://test/reader", []writing{{"a certificate for reading", nil, "", 403, "", "no_right", "policy reader"}}},
		{"spiffe://test/other", []writing{{"a certificate without a policy", nil, "", 403, "", "unknown_certificate", "spiffe://test/other"}}},
		{"spiffe://test/proxy", []writing{
			{"a proxy is nobody", nil, "", 401, "", "no_credential", "a credential is needed"},
			{"a token through a proxy", bearer("a"), "", 204, "a", "", ""},
		}},
		{"", []writing{{"nobody", nil, "", 401, "", "no_credential", "a credential is needed"}}},
	} {
		config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		config.RootCAs.AppendCertsFromPEM(ca.Cert())
		if test.certificate != "" {
			pair, err := ca.Issue(authority.Request{Names: []string{test.certificate}})
			require.NoError(t, err)
			certificate, err := pair.TLS()
			require.NoError(t, err)
			config.Certificates = []tls.Certificate{certificate}
		}
		transport := &http.Transport{TLSClientConfig: config}
		r.client = &http.Client{Transport: transport}
		r.writeAll(t, f, test.requests)
		transport.CloseIdleConnections()
	}
}

// Without policies whoever the listener lets in writes, a token or not.
func TestNoPolicies(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	file := accessFolder(t, "roles:\n  proxy: [spiffe://test/proxy]\n")
	r := startWith(t, func(c *Config) { c.AccessFile, c.TenantLabel = file, "team" }, f)
	r.writeAll(t, f, []writing{{"nobody", nil, "b", 204, "b", "", ""}, {"a token", bearer("nobody"), "", 204, "", "", ""}})
	// With users a token is none of theirs.
	r = startWith(t, func(c *Config) { c.AccessFile, c.WebConfigFile = file, webFile(t, "", "alice") }, f)
	r.writeAll(t, f, []writing{{"a user", basic("alice", "alice"), "", 204, "", "", ""}, {"a token", bearer("a"), "", 401, "", "", ""}})
}

// Policies are read anew, and one that cannot hold is told of.
func TestPoliciesAreRenewed(t *testing.T) {
	c := DefaultConfig()
	c.AccessFile = accessFolder(t, policies)
	_, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	var mistake *usage.Error
	require.ErrorAs(t, err, &mistake)
	require.ErrorContains(t, err, "--tenant.label")

	without := strings.ReplaceAll(policies, "{tenant: a}", "{}")
	f := newForwarder(t, "127.0.0.1:0")
	file := accessFolder(t, without)
	r := startWith(t, func(c *Config) { c.AccessFile = file }, f)
	reload := func() error {
		for _, reload := range r.Reloads() {
			if reload.What == "--access.file" {
				return reload.Again()
			}
		}
		return os.ErrNotExist
	}
	r.writeAll(t, f, []writing{{"before", bearer("a"), "", 204, "", "", ""}})

	require.NoError(t, os.WriteFile(file, []byte(policies), 0o600))
	require.ErrorContains(t, reload(), "--tenant.label")
	r.writeAll(t, f, []writing{
		{"as a tenant without a label", bearer("a"), "", 503, "", "", "--tenant.label"},
		{"others", bearer("anything"), "", 204, "", "", ""},
	})

	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(without, "a.token", "anything.token")), 0o600))
	require.Error(t, reload(), "two policies have one token")
	r.writeAll(t, f, []writing{{"what was read last", bearer("anything"), "", 204, "", "", ""}})

	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(without, "token_files: [a.token]", "")), 0o600))
	require.NoError(t, reload())
	r.writeAll(t, f, []writing{{"a token that is gone", bearer("a"), "", 401, "", "unknown_token", "token"}})
}
