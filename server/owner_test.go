package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server"
)

// issuer issues certificates to the peers of a link.
type issuer struct {
	*authority.Authority
	t   testing.TB
	dir string
}

func newIssuer(t testing.TB) *issuer {
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), a.Cert(), 0o600))
	return &issuer{a, t, dir}
}

// files have a certificate for names, and for those that every certificate may have.
func (i *issuer) files(names ...string) renew.TLSFiles {
	pair, err := i.Issue(authority.Request{Names: append(names, "127.0.0.1", "::1", "localhost")})
	require.NoError(i.t, err)
	name := fmt.Sprint(rand.Int())
	require.NoError(i.t, pair.Write(i.dir, name))
	cert, key := authority.Files(i.dir, name)
	return renew.TLSFiles{Cert: cert, Key: key, CA: filepath.Join(i.dir, "ca.pem")}
}

// dialer are the options of a link whose certificate has these names.
func (i *issuer) dialer(names ...string) link.Options {
	tls, err := i.files(names...).Dialer(nil)
	require.NoError(i.t, err)
	return link.Options{Trust: link.Trust{TLS: tls.Getter()}}
}

// listen has a server take forwarders with certificates.
func (i *issuer) listen(c *server.Config) {
	f := i.files("server")
	c.LinkConfigFile = filepath.Join(i.dir, "link.yml")
	require.NoError(i.t, os.WriteFile(c.LinkConfigFile, fmt.Appendf(nil,
		"tls_server_config:\n  cert_file: %q\n  key_file: %q\n  client_ca_file: %q\n  client_auth_type: RequireAndVerifyClientCert\n", f.Cert, f.Key, f.CA), 0o600))
}

// forge is a log with the id of another one that has other samples.
func forge(t testing.TB, of *source, points ...point) *source {
	t.Helper()
	options := seglog.DefaultOptions()
	options.Sync = seglog.SyncNever
	dir := t.TempDir()
	id := of.writer.Log().ID().String()
	require.NoError(t, os.CopyFS(filepath.Join(dir, id), os.DirFS(filepath.Join(of.dir, id))))
	forged := openSource(t, dir, options)
	forged.write(points...)
	require.Equal(t, id, forged.writer.Log().ID().String())
	return forged
}

// feedOnceBy feeds by one connection, for a while at most.
func (s *source) feedOnceBy(t testing.TB, srv *instance, o link.Options) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return s.feedWith(ctx, srv.LinkAddr().String(), o)
}

// A forwarder that knows the id of another's log cannot send anything in its place, nor
// interrupt it, before and after a restart. What followers get is the true one's.
func TestLogHasAnOwner(t *testing.T) {
	i := newIssuer(t)
	config := testConfig(t)
	i.listen(&config)
	s := start(t, config)
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	stop := src.feedBy(s.Server, i.dialer("forwarder-a"))
	s.await(t, src)
	forged := forge(t, src, point{series: "false", t: 2, v: 666})

	attack := func() {
		t.Helper()
		for _, o := range []link.Options{i.dialer("forwarder-b"), i.dialer("a", "forwarder")} {
			err := forged.feedOnceBy(t, s, o)
			require.ErrorContains(t, err, "belongs to another forwarder")
		}
	}
	attack()
	require.Equal(t, 2.0, s.metricOf(t, "promgrpc_server_refused_logs_total", "owner"))
	require.Contains(t, s.log.String(), "belongs to another forwarder")
	require.NotContains(t, s.log.String(), "forwarder disconnected", "the true one was not interrupted")
	src.write(point{series: "a", t: 2, v: 2})
	s.await(t, src)

	stop()
	attack()
	s.stop()
	s = start(t, config)
	attack()
	// Its certificate is renewed, with a name more, then with a name less.
	stop = src.feedBy(s.Server, i.dialer("forwarder-a", "forwarder-new"))
	src.write(point{series: "a", t: 3, v: 3})
	s.await(t, src)
	stop()
	stop = src.feedBy(s.Server, i.dialer("forwarder-new"))
	src.write(point{series: "a", t: 4, v: 4})
	s.await(t, src)
	attack()
	stop()
	require.ErrorContains(t, src.feedOnceBy(t, s, i.dialer("forwarder-a")), "belongs to another")
	overAll(t, func(t *testing.T, p protocol) {
		require.Equal(t, []string{"a 1 @1", "a 2 @2", "a 3 @3", "a 4 @4"}, lines(all(t, p.open(t, t.Context(), s.RPCAddr().String(), everything["retained"]))...))
	})
}

// Of several names in a certificate, those count that make it a forwarder.
func TestOwnerIsWhoHasTheRole(t *testing.T) {
	i := newIssuer(t)
	config := testConfig(t)
	i.listen(&config)
	config.AccessFile = filepath.Join(i.dir, "access.yml")
	require.NoError(t, os.WriteFile(config.AccessFile, []byte("roles: {forwarder: ['spiffe://test/forwarder/*']}\n"), 0o600))
	s := start(t, config)
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	stop := src.feedBy(s.Server, i.dialer("spiffe://test/forwarder/a", "shared.example.org"))
	s.await(t, src)
	stop()
	forged := forge(t, src, point{series: "false", t: 2, v: 666})
	require.ErrorContains(t, forged.feedOnceBy(t, s, i.dialer("spiffe://test/forwarder/b", "shared.example.org")), "belongs to another forwarder")
	require.ErrorContains(t, forged.feedOnceBy(t, s, i.dialer("spiffe://test/receiver/a", "shared.example.org")), "as a forwarder")
	src.feedBy(s.Server, i.dialer("spiffe://test/forwarder/a"))
	src.write(point{series: "a", t: 2, v: 2})
	s.await(t, src)
	require.Len(t, lines(all(t, s.call(t, everything["snapshot"]))...), 1)
}

// A log that was fed in the clear belongs to the first that feeds it with a certificate,
// which is not one that says hello alone.
func TestLogGetsAnOwner(t *testing.T) {
	config := testConfig(t)
	s := start(t, config)
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	src.feed(s.Server)
	s.await(t, src)
	s.stop()
	i := newIssuer(t)
	i.listen(&config)
	s = start(t, config)
	id := src.writer.Log().ID()
	idle, _, err := link.Dial(t.Context(), s.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}, i.dialer("idle"))
	require.NoError(t, err)
	require.NoError(t, idle.Close())
	stop := src.feedBy(s.Server, i.dialer("forwarder-a"))
	src.write(point{series: "a", t: 2, v: 2})
	s.await(t, src)
	stop()
	require.ErrorContains(t, src.feedOnceBy(t, s, i.dialer("idle")), "belongs to another forwarder")
	s.stop()
	config.LinkConfigFile = ""
	s = start(t, config)
	require.ErrorContains(t, src.feedOnceBy(t, s, link.Options{}), "a connection without a certificate came")

	// A person may take the owner away.
	require.NoError(t, os.Remove(filepath.Join(config.StoragePath, id.String(), "owner")))
	src.feed(s.Server)
	src.write(point{series: "a", t: 3, v: 3})
	s.await(t, src)
}

// True, stale and rogue forwarders connect at random, each for a while. What is served is
// the true one's.
func TestFeedersAtRandom(t *testing.T) {
	i := newIssuer(t)
	config := testConfig(t)
	i.listen(&config)
	s := start(t, config)
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	own, rogue := i.dialer("forwarder-a"), i.dialer("forwarder-b")
	stop := src.feedBy(s.Server, own)
	s.await(t, src)
	stop()
	forged := forge(t, src, point{series: "a", t: 2, v: -2})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var feeders sync.WaitGroup
	connect := func(from *source, o link.Options) {
		feeders.Go(func() {
			for ctx.Err() == nil {
				while, end := context.WithTimeout(ctx, rand.N(50*time.Millisecond))
				_ = from.feedWith(while, s.LinkAddr().String(), o)
				end()
			}
		})
	}
	for range 2 {
		connect(src, own) // one of them is the stale one, by turns
		connect(forged, rogue)
	}
	const samples = 300
	want := []string{"a 1 @1"}
	for n := 2; n <= samples; n++ {
		src.write(point{series: "a", t: int64(n), v: float64(n)})
		forged.write(point{series: "a", t: int64(n), v: -float64(n)})
		want = append(want, fmt.Sprintf("a %d @%d", n, n))
		if n%50 == 0 {
			src.rotate()
			forged.rotate()
			time.Sleep(20 * time.Millisecond)
		}
	}
	cancel()
	feeders.Wait()
	src.write(point{series: "a", t: samples + 1, v: samples + 1})
	want = append(want, fmt.Sprintf("a %d @%d", samples+1, samples+1))
	src.feedBy(s.Server, own)
	s.await(t, src)
	require.Equal(t, want, lines(all(t, s.call(t, everything["retained"]))...))
	require.Positive(t, s.metricOf(t, "promgrpc_server_refused_logs_total", "owner"))
	sameFiles(t, src, config.StoragePath, src.dir)
}

// At a relay a log belongs to nobody: it may read it from any server, and each shows when
// it is dialled that it is one.
func TestRelayMovesAmongServersOfARole(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	ca, pem := newAuthority(t)
	var doors []*door
	var addresses []string
	for _, name := range []string{"a", "b"} {
		pair, err := ca.Issue(authority.Request{Names: []string{"spiffe://promgrpc/server/" + name}})
		require.NoError(t, err)
		doors = append(doors, newDoor(t, startFed(t, testConfig(t), src), pair))
		addresses = append(addresses, doors[len(doors)-1].Listener.Addr().String())
	}
	c := testConfig(t)
	c.Upstream = strings.Join(addresses, ",")
	c.UpstreamFlags.TLSFiles.CA = pem
	c.AccessFile = filepath.Join(t.TempDir(), "access.yml")
	require.NoError(t, os.WriteFile(c.AccessFile, []byte("roles: {server: ['spiffe://promgrpc/server/*']}\n"), 0o600))
	relay := start(t, c)
	relay.await(t, src)
	for _, d := range doors {
		d.CloseClientConnections()
		src.write(point{series: "a", t: 2, v: 2})
		relay.await(t, src)
		require.NoError(t, d.Listener.Close())
		d.CloseClientConnections()
	}
	require.NoFileExists(t, filepath.Join(c.StoragePath, src.writer.Log().ID().String(), "owner"))
}
