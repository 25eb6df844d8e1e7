package server_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server"
)

const partsRoles = `roles:
  receiver: [spiffe://promgrpc/receiver]
  forwarder: [spiffe://promgrpc/forwarder]
  server: [server]
  proxy: [spiffe://promgrpc/haproxy]
`

// write replaces a file of the issuer's folder.
func (i *issuer) write(name, text string) (path string) {
	i.t.Helper()
	path = filepath.Join(i.dir, name)
	require.NoError(i.t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(i.t, os.Rename(path+".new", path))
	return path
}

// A server takes logs of forwarders: the certificate of any other part is no better than
// none, and one whose role is taken away is cut off.
func TestOnlyForwardersFeed(t *testing.T) {
	i := newIssuer(t)
	config := testConfig(t)
	i.listen(&config)
	config.AccessFile = i.write("access.yml", partsRoles)
	s := start(t, config)
	roles, err := access.Open(i.write("unchanged.yml", partsRoles), nil)
	require.NoError(t, err)
	dialler := func(name string, peer access.Role) link.Options {
		o := i.dialer(name)
		o.Trust.Roles, o.Trust.Peer = roles, peer
		return o
	}
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	for _, name := range []string{"spiffe://promgrpc/receiver", "server", "spiffe://promgrpc/haproxy", "spiffe://promgrpc/relay"} {
		require.ErrorContains(t, src.feedOnceBy(t, s, dialler(name, access.Server)), name)
	}
	require.Error(t, src.feedOnce(t.Context(), s.LinkAddr().String()))
	const forwarder = "spiffe://promgrpc/forwarder"
	require.ErrorContains(t, src.feedOnceBy(t, s, dialler(forwarder, access.Receiver)), "for server", "who listens is no receiver")
	require.Zero(t, s.last(t, src))

	id := src.writer.Log().ID()
	c, _, err := link.Dial(t.Context(), s.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}, dialler(forwarder, access.Server))
	require.NoError(t, err)
	defer c.Close()
	i.write("access.yml", strings.ReplaceAll(partsRoles, forwarder, "spiffe://promgrpc/another"))
	for err == nil {
		_, err = c.Receive()
	}
	var bye *link.GoodbyeError
	require.ErrorAs(t, err, &bye)
	require.Contains(t, bye.Reason, access.Flag)
}

func TestTrustInFlags(t *testing.T) {
	i := newIssuer(t)
	files := i.files("server")
	tls := fmt.Sprintf("tls_server_config:\n  cert_file: %q\n  key_file: %q\n", files.Cert, files.Key)
	for name, c := range map[string]struct {
		link, access, want string
	}{
		"users":               {tls + "basic_auth_users: {a: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC}\n", "", "basic_auth_users"},
		"headers":             {tls + "http_server_config: {headers: {X-Frame-Options: deny}}\n", "", "http_server_config"},
		"rate limit":          {tls + "rate_limit: {interval: 1s, burst: 1}\n", "", "rate_limit"},
		"no TLS":              {"basic_auth_users: {}\n", "", "tls_server_config"},
		"old TLS":             {tls + "  max_version: TLS12\n", "", "TLS 1.3"},
		"roles in cleartext":  {"", partsRoles, link.FlagConfigFile},
		"roles, nobody asked": {tls, partsRoles, "RequireAndVerifyClientCert"},
		"roles of no pattern": {tls, "roles: {forwarder: [a b]}", access.Flag},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(t)
			if c.link != "" {
				config.LinkConfigFile = i.write("link.yml", c.link)
			}
			if c.access != "" {
				config.AccessFile = i.write("access.yml", c.access)
			}
			_, err := server.New(config, slog.New(slog.DiscardHandler), nil)
			require.ErrorContains(t, err, c.want)
			if name != "roles of no pattern" {
				var mistake *usage.Error
				require.ErrorAs(t, err, &mistake)
			}
		})
	}
}
