package security

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/e2e/harness"
	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/link"
)

// dialled are the cases of who answers, by what who dials has.
var dialled = map[string][]string{
	"an authority": {"nothing", "a certificate of another authority", "one that has expired", "one for another host", "one for the host"},
	"an authority and roles": {
		"a certificate of another authority", "one that has expired", "one for the host, without the role", "one with another role", "one with the role, for another host",
	},
}

const elsewhere = "elsewhere.example"

// answerers make the certificates of who answers at a host, of whom a role is expected.
var answerers = map[string]func(a *authorities, role, host string) *authority.Pair{
	"nothing": func(*authorities, string, string) *authority.Pair { return nil },
	"a certificate of another authority": func(a *authorities, role, host string) *authority.Pair {
		return a.issue(a.theirs, time.Time{}, uri(role), host)
	},
	"one that has expired": func(a *authorities, role, host string) *authority.Pair {
		return a.issue(a.ours, expired, uri(role), host)
	},
	"one for another host": func(a *authorities, role, _ string) *authority.Pair {
		return a.issue(a.ours, time.Time{}, uri(role), elsewhere)
	},
	"one for the host": func(a *authorities, _, host string) *authority.Pair {
		return a.issue(a.ours, time.Time{}, host)
	},
	"one for the host, without the role": func(a *authorities, _, host string) *authority.Pair {
		return a.issue(a.ours, time.Time{}, host)
	},
	"one with another role": func(a *authorities, _, host string) *authority.Pair {
		return a.issue(a.ours, time.Time{}, uri("receiver"), host)
	},
	"one with the role, for another host": func(a *authorities, role, _ string) *authority.Pair {
		return a.issue(a.ours, time.Time{}, uri(role), elsewhere)
	},
}

// dialler is one who dials another.
type dialler struct {
	place string
	role  string // of who answers
	flags string
	// start begins to dial, and returns what says that it does not get through.
	start func(t *testing.T, address string, flags ...string) (failed func() bool)
}

var diallers = []dialler{
	{"receiver to forwarder", "forwarder", "forwarder.tls", func(t *testing.T, address string, flags ...string) func() bool {
		return startDialling(t, "forwarder not connected", "prometheus-remote-receiver", append(flags, "--forwarder="+address, "--web.listen-address="+harness.Host()+":0")...)
	}},
	{"forwarder to server", "server", "server.tls", func(t *testing.T, address string, flags ...string) func() bool {
		return startDialling(t, "server lost", "metrics-forwarder", append(flags, "--server="+address, "--storage.path="+t.TempDir(),
			"--link.listen-address="+harness.Host()+":0", "--web.listen-address="+harness.Host()+":0", "--link.config.file="+linkConfig(t))...)
	}},
	{"relay to its upstream", "server", "tls", func(t *testing.T, address string, flags ...string) func() bool {
		return startDialling(t, "upstream lost", "prometheus-grpc-client", append([]string{"relay"}, append(flags, "--upstream="+address, "--storage.path="+t.TempDir(),
			"--listen="+harness.Host()+":0", "--web.listen-address="+harness.Host()+":0", "--bearer-token-file="+secretFile(t))...)...)
	}},
	{"client to server", "server", "tls", func(t *testing.T, address string, flags ...string) func() bool {
		p := harness.Start(t, "client", harness.Binary(t, "prometheus-grpc-client"), append([]string{"get", "--address=" + address, "--bearer-token-file=" + secretFile(t)}, flags...)...)
		return func() bool { return !p.Running() }
	}},
}

func startDialling(t *testing.T, failure, binary string, args ...string) func() bool {
	t.Helper()
	p := harness.Start(t, binary, harness.Binary(t, binary), args...)
	return func() bool { _, found := p.Stderr().Find(`msg="` + failure); return found }
}

func secretFile(t *testing.T) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "token"), secretOf("reader"))
}

// linkConfig is for the port of a forwarder that nobody dials here: where the access file
// names receivers, it has to ask for their certificates.
func linkConfig(t *testing.T) string {
	t.Helper()
	dir, a := t.TempDir(), newAuthorities(t)
	write(t, filepath.Join(dir, "ca.pem"), string(a.ours.Cert()))
	require.NoError(t, a.issue(a.ours, time.Time{}, uri("forwarder")).Write(dir, "forwarder"))
	return write(t, filepath.Join(dir, "link.yml"), tlsConfig("forwarder", true))
}

// TestWhoIsDialled has each program that dials another find what the table in
// docs/security.md has.
func TestWhoIsDialled(t *testing.T) {
	t.Parallel()
	tab := readTable(t, "who dials has", "who answers has")
	var places []string
	for _, d := range diallers {
		places = append(places, d.place)
	}
	tab.covers(t, dialled, places)
	certs := newAuthorities(t)
	for _, r := range tab.rows {
		for _, d := range diallers {
			want, ok := r.outcomes[d.place]
			assert.Equal(t, d.place != "client to server" || r.asked == "an authority", ok, "%s, %s: whether the table says something of %s", r.asked, r.brought, d.place)
			if !ok {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s, %s", d.place, r.asked, r.brought), func(t *testing.T) {
				t.Parallel()
				host := harness.Host()
				address, heard := answer(t, d, host, answerers[r.brought](certs, d.role, host))
				dir := t.TempDir()
				flags := []string{"--" + d.flags + "-ca-file=" + write(t, filepath.Join(dir, "ca.pem"), string(certs.ours.Cert()))}
				if r.asked == "an authority and roles" {
					flags = append(flags, "--access.file="+write(t, filepath.Join(dir, "access.yml"), rolesText))
				}
				failed := d.start(t, address, flags...)
				harness.Eventually(t, "an outcome", func() bool { return heard() || failed() })
				got := "no"
				if heard() {
					got = yes
				}
				assert.Equal(t, want, got)
			})
		}
	}
}

// answer listens with a certificate, or without, as whom a dialler looks for, and says
// whether it has heard anything.
func answer(t *testing.T, d dialler, host string, pair *authority.Pair) (address string, heard func() bool) {
	t.Helper()
	var config *tls.Config
	if pair != nil {
		certificate, err := pair.TLS()
		require.NoError(t, err)
		config = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	if d.flags != "tls" {
		return answerLink(t, host, config)
	}
	var calls atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	l, err := net.Listen("tcp", host+":0")
	require.NoError(t, err)
	_ = s.Listener.Close()
	s.Listener, s.EnableHTTP2, s.TLS = l, true, config
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	if config == nil {
		s.Start()
	} else {
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return l.Addr().String(), func() bool { return calls.Load() > 0 }
}

func answerLink(t *testing.T, host string, config *tls.Config) (address string, heard func() bool) {
	t.Helper()
	var o link.Options
	if config != nil {
		o.Trust.TLS = func() *tls.Config { return config }
	}
	l, err := link.Listen(host+":0", o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var hellos atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = l.Run(ctx, func(context.Context, *link.Conn, *linkv1.Hello) error {
			hellos.Add(1)
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return l.Addr().String(), func() bool { return hellos.Load() > 0 }
}
