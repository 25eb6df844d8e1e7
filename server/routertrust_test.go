package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/server/router"
)

// A router reads from groups whose servers ask for a certificate, or for a token over TLS.
// Without what opens them, or where they are not who they should be, it serves nothing, and
// says of each group why.
func TestRouterOfSecuredGroups(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	ca, pem := newAuthority(t)
	_, others := newAuthority(t)
	for _, part := range []string{"server", "router", "reader"} {
		pair, err := ca.Issue(authority.Request{Names: []string{"spiffe://promgrpc/" + part}})
		require.NoError(t, err)
		require.NoError(t, pair.Write(dir, part))
	}
	file("router.token", "of-the-router")
	file("reader.token", "of-a-reader")
	file("nobody.token", "of-nobody")
	config := testConfig(t)
	config.RPCConfigFile = file("web.yml", `tls_server_config: {cert_file: server.pem, key_file: server-key.pem, client_ca_file: `+pem+`, client_auth_type: VerifyClientCertIfGiven}`)
	config.AccessFile = file("access.yml", `
policies:
- {name: routers, certificates: [spiffe://promgrpc/router], token_files: [router.token], read: {logs: true, status: true}}
- {name: readers, certificates: [spiffe://promgrpc/reader], token_files: [reader.token], read: {}}
`)
	two := &twoGroups{}
	for i, name := range []string{"a", "b"} {
		two.sources[i] = newSource(t)
		two.sources[i].write(point{series: name + "_first", t: now(), v: 1})
		for j := range two.servers[i] {
			c := config
			c.StoragePath = t.TempDir()
			two.servers[i][j] = startFed(t, c, two.sources[i])
		}
	}
	roles := file("roles.yml", "roles: {server: [spiffe://promgrpc/server]}\n")
	notTheirs := file("other-roles.yml", "roles: {server: [spiffe://promgrpc/another]}\n")
	for title, tc := range map[string]struct {
		ca, roles, certificate, token string
		says                          string // "" is for a router that is let in
	}{
		"certificate":             {ca: pem, roles: roles, certificate: "router"},
		"token":                   {ca: pem, roles: roles, token: "router.token"},
		"certificate of a reader": {ca: pem, roles: roles, certificate: "reader", says: "policy readers does not have"},
		"token of a reader":       {ca: pem, roles: roles, token: "reader.token", says: "policy readers does not have"},
		"token of nobody":         {ca: pem, roles: roles, token: "nobody.token", says: "the bearer token is none that a policy has"},
		"nothing":                 {ca: pem, roles: roles, says: "a credential is needed"},
		"another authority":       {ca: others, roles: roles, token: "router.token", says: "certificate"},
		"another role":            {ca: pem, roles: notTheirs, token: "router.token", says: "spiffe://promgrpc/server"},
	} {
		t.Run(title, func(t *testing.T) {
			r := newRouting(t, two, func(c *router.Config) {
				c.Timeout = time.Second
				c.AccessFile, c.GroupFlags.TLSFiles.CA = tc.roles, tc.ca
				if tc.certificate != "" {
					c.GroupFlags.TLSFiles.Cert, c.GroupFlags.TLSFiles.Key = authority.Files(dir, tc.certificate)
				}
				if tc.token != "" {
					c.GroupFlags.Token = filepath.Join(dir, tc.token)
				}
			})
			if tc.says == "" {
				r.awaitReady(t)
				requireEveryCall(t, r)
				return
			}
			require.Eventually(t, func() bool { return strings.Contains(r.log.String(), tc.says) }, patience, 10*time.Millisecond, tc.says)
			require.Error(t, r.Ready())
		})
	}
}

// requireEveryCall makes one call of each kind that a router passes on, over each protocol.
func requireEveryCall(t *testing.T, r *routing) {
	t.Helper()
	overWays(t, func(t *testing.T, v way) {
		c, _ := v.as(t, r, "")
		for name, call := range calls {
			require.NoError(t, call(t.Context(), c), name)
		}
		got, err := get(t.Context(), c, &getRequest{})
		require.NoError(t, err)
		require.Len(t, lines(got...), 2)
		names, err := c.GetLabelValues(t.Context(), connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "__name__"}))
		require.NoError(t, err)
		require.Equal(t, []string{"a_first", "b_first"}, names.Msg.GetValues())
		q, _ := v.queryAs(t, r, "")
		series, err := q.ReadSeries(t.Context(), connect.NewRequest(&queryv1.ReadSeriesRequest{MinTime: 0, MaxTime: now()}))
		require.NoError(t, err)
		defer series.Close()
		found := 0
		for series.Receive() {
			found += len(series.Msg().GetSeries())
		}
		require.NoError(t, series.Err())
		require.Equal(t, 2, found)
	})
}
