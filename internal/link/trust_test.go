package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/authority"
)

const allRoles = `
roles:
  receiver: [spiffe://promgrpc/receiver]
  forwarder: [spiffe://promgrpc/forwarder-*, "*.forwarders.example.org"]
  server: [spiffe://promgrpc/server, server.example.org, 192.0.2.1]
`

// accessFile is an access file that is replaced by write.
type accessFile struct {
	*access.File
	path string
}

func newAccessFile(t *testing.T, text string) *accessFile {
	t.Helper()
	f := &accessFile{path: filepath.Join(t.TempDir(), "access.yml")}
	f.write(t, text)
	var err error
	f.File, err = access.Open(f.path, nil)
	require.NoError(t, err)
	return f
}

func (f *accessFile) write(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(f.path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(f.path+".new", f.path))
}

// side returns the TLS of a side whose certificate has names, and that trusts the
// authority. It asks whoever dials for a certificate.
func side(t *testing.T, a *authority.Authority, r authority.Request) func() *tls.Config {
	t.Helper()
	c := &tls.Config{RootCAs: a.Pool(), ClientCAs: a.Pool(), ClientAuth: tls.VerifyClientCertIfGiven}
	if len(r.Names) > 0 {
		pair, err := a.Issue(r)
		require.NoError(t, err)
		certificate, err := pair.TLS()
		require.NoError(t, err)
		c.Certificates = []tls.Certificate{certificate}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	return func() *tls.Config { return c }
}

func named(names ...string) authority.Request { return authority.Request{Names: names} }

// Either side is known by the role in its certificate, and only where that role belongs.
func TestRoles(t *testing.T) {
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	roles := newAccessFile(t, allRoles)
	certificates := map[string]access.Role{
		"spiffe://promgrpc/receiver":       access.Receiver,
		"spiffe://promgrpc/forwarder-1":    access.Forwarder,
		"a.forwarders.example.org":         access.Forwarder,
		"spiffe://promgrpc/server":         access.Server,
		"server.example.org":               access.Server,
		"192.0.2.1":                        access.Server,
		"spiffe://promgrpc/forwarder-":     "",
		"spiffe://promgrpc/forwarder-1/x":  "",
		"a.b.forwarders.example.org":       "",
		"spiffe://promgrpc/receiver.other": "",
		"promgrpc":                         "",
	}
	for name, role := range certificates {
		for _, wanted := range []access.Role{access.Receiver, access.Forwarder, access.Server} {
			ok := role == wanted
			t.Run(fmt.Sprintf("%s dials, %s wanted", name, wanted), func(t *testing.T) {
				s := serve(t, Options{Trust: Trust{TLS: side(t, a, named("spiffe://listener")), Roles: roles, Peer: wanted}}, echo)
				trust := Trust{TLS: side(t, a, named(name)), Roles: newAccessFile(t, "roles: {proxy: [spiffe://listener]}"), Peer: access.Proxy}
				c, _, err := Dial(t.Context(), s.addr, hello(), Options{Trust: trust})
				if ok {
					require.NoError(t, err)
					roundTrip(t, c, 1000)
					require.NoError(t, c.Close())
					return
				}
				var bye *GoodbyeError
				require.ErrorAs(t, err, &bye)
				require.Contains(t, bye.Reason, name)
				require.Contains(t, bye.Reason, string(wanted))
				require.Eventually(t, func() bool {
					return s.rejected(reasonRole) == 1 && strings.Contains(s.log.String(), name)
				}, 30*time.Second, 10*time.Millisecond)
			})
			t.Run(fmt.Sprintf("%s listens, %s wanted", name, wanted), func(t *testing.T) {
				s := serve(t, Options{Trust: Trust{TLS: side(t, a, named(name))}}, echo)
				metrics := NewMetrics(nil)
				c, _, err := Dial(t.Context(), s.addr, hello(), Options{
					Metrics: metrics, Trust: Trust{TLS: side(t, a, named("spiffe://dialler")), Roles: roles, Peer: wanted},
				})
				if ok {
					require.NoError(t, err, "by an address that is not in the certificate")
					roundTrip(t, c, 1000)
					require.NoError(t, c.Close())
					return
				}
				require.ErrorContains(t, err, name)
				require.ErrorContains(t, err, string(wanted))
				require.Equal(t, 1, count(metrics.rejected.WithLabelValues(reasonRole)))
				require.Eventually(t, func() bool {
					return strings.Contains(s.log.String(), "link refused by its peer") && strings.Contains(s.log.String(), name)
				}, 30*time.Second, 10*time.Millisecond)
				require.Zero(t, s.rejected(reasonJunk))
			})
		}
	}
}

// A role is worth what proves it.
func TestRolesUnproved(t *testing.T) {
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	stranger, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	roles := newAccessFile(t, allRoles)
	const receiver, server = "spiffe://promgrpc/receiver", "spiffe://promgrpc/server"
	expired := func(name string) authority.Request {
		return authority.Request{Names: []string{name}, NotBefore: time.Now().Add(-time.Hour), Lifetime: time.Minute}
	}
	right := Trust{TLS: side(t, a, named(server)), Roles: roles, Peer: access.Receiver}
	dialler := Trust{TLS: side(t, a, named(receiver)), Roles: roles, Peer: access.Server}
	with := func(t Trust, config func() *tls.Config) Trust { t.TLS = config; return t }
	withName := func(t Trust, name string) Trust {
		c := t.TLS().Clone()
		c.ServerName = name
		return with(t, func() *tls.Config { return c })
	}
	for name, c := range map[string]struct {
		listener, dialler Trust
		ok                bool
		want              string
	}{
		"right":                         {right, dialler, true, ""},
		"no certificate":                {right, with(dialler, side(t, a, named())), false, "no verified certificate"},
		"expired dialler":               {right, with(dialler, side(t, a, expired(receiver))), false, "tls"},
		"expired listener":              {with(right, side(t, a, expired(server))), dialler, false, "expired"},
		"dialler of another authority":  {right, with(dialler, side(t, stranger, named(receiver))), false, "authority"},
		"listener of another authority": {with(right, side(t, stranger, named(server))), dialler, false, "authority"},
		"cleartext dialler":             {right, Trust{}, false, "TLS for one that has none"},
		"cleartext listener":            {Trust{}, dialler, false, "TLS for one that has none"},
		"cleartext listener with role":  {Trust{}, Trust{Roles: roles, Peer: access.Server}, false, "no verified certificate"},
		"configured name":               {with(right, side(t, a, named(server, "server.example.org"))), withName(dialler, "server.example.org"), true, ""},
		"another configured name":       {right, withName(dialler, "server.example.org"), false, "server.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, Options{Trust: c.listener, HandshakeTimeout: time.Second}, echo)
			conn, _, err := Dial(t.Context(), s.addr, hello(), Options{Trust: c.dialler, HandshakeTimeout: 10 * time.Second})
			if c.ok {
				require.NoError(t, err)
				roundTrip(t, conn, 1000)
				require.NoError(t, conn.Close())
				return
			}
			require.ErrorContains(t, err, c.want)
			if name == "cleartext listener" {
				require.Eventually(t, func() bool { return s.rejected(reasonTLS) == 1 }, 30*time.Second, 10*time.Millisecond)
			}
		})
	}
}

// Another protocol gets through to the same listeners.
func TestDialling(t *testing.T) {
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	roles := newAccessFile(t, allRoles)
	for name, ok := range map[string]bool{"spiffe://promgrpc/server": true, "spiffe://promgrpc/receiver": false} {
		s := serve(t, Options{Trust: Trust{TLS: side(t, a, named(name))}}, echo)
		trust := Trust{TLS: side(t, a, named("spiffe://promgrpc/relay")), Roles: roles, Peer: access.Server}
		conn, err := tls.Dial("tcp", s.addr, trust.Dialling(s.addr))
		require.Equal(t, ok, err == nil, "%s: %v", name, err)
		if ok {
			require.NoError(t, conn.Close())
		} else {
			require.ErrorContains(t, err, access.Flag)
		}
	}
}

// Without roles a listener has to be the host that was dialled.
func TestHostWithoutRoles(t *testing.T) {
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	for names, ok := range map[string]bool{"127.0.0.1": true, "spiffe://promgrpc/server": false} {
		s := serve(t, Options{Trust: Trust{TLS: side(t, a, named(names))}}, echo)
		c, _, err := Dial(t.Context(), s.addr, hello(), Options{Trust: Trust{
			TLS: side(t, a, named("spiffe://promgrpc/receiver")), Roles: newAccessFile(t, "roles: {receiver: [spiffe://promgrpc/receiver]}"), Peer: access.Server,
		}})
		require.Equal(t, ok, err == nil, "%s: %v", names, err)
		if ok {
			require.NoError(t, c.Close())
		}
	}
}

// A role that is taken away ends the links of who had it, on either side, and one that
// is given back lets it in again.
func TestRoleTakenAway(t *testing.T) {
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	const before, after = "roles: {receiver: [one], server: [two]}", "roles: {receiver: [three], server: [four]}"
	for _, listens := range []bool{true, false} {
		t.Run(map[bool]string{true: "from who dialled", false: "from who listens"}[listens], func(t *testing.T) {
			roles, unchanged := newAccessFile(t, before), newAccessFile(t, before)
			mine, theirs := unchanged, roles
			if listens {
				mine, theirs = roles, unchanged
			}
			const ping = 50 * time.Millisecond
			ended := make(chan error, 1)
			handler := func(_ context.Context, c *Conn, _ *linkv1.Hello) error {
				err := c.Welcome(&linkv1.Welcome{})
				if err == nil {
					_, err = c.Receive()
				}
				ended <- err
				return err
			}
			s := serve(t, Options{Trust: Trust{TLS: side(t, a, named("two")), Roles: mine, Peer: access.Receiver}, PingInterval: ping}, handler)
			metrics := NewMetrics(nil)
			o := Options{Trust: Trust{TLS: side(t, a, named("one")), Roles: theirs, Peer: access.Server}, PingInterval: ping, Metrics: metrics}
			c, _, err := Dial(t.Context(), s.addr, hello(), o)
			require.NoError(t, err)
			defer c.Close()
			roles.write(t, after)
			_, err = c.Receive()
			require.NoError(t, c.Close())
			ofListener := <-ended
			rejected, told, expelled := count(metrics.rejected.WithLabelValues(reasonRole)), ofListener, err
			if listens {
				rejected, told, expelled = s.rejected(reasonRole), err, ofListener
			}
			var bye *GoodbyeError
			require.ErrorAs(t, told, &bye)
			require.Contains(t, bye.Reason, access.Flag)
			var frame *frameError
			require.ErrorAs(t, expelled, &frame)
			require.Equal(t, reasonRole, frame.Reason)
			require.Equal(t, 1, rejected)

			_, _, err = Dial(t.Context(), s.addr, hello(), o)
			require.ErrorContains(t, err, access.Flag)
			roles.write(t, before)
			require.Eventually(t, func() bool {
				c, _, err := Dial(t.Context(), s.addr, hello(), o)
				if err == nil {
					require.NoError(t, c.Close())
				}
				return err == nil
			}, 30*time.Second, 10*time.Millisecond)
		})
	}
}

// A link does not outlive the certificate that it was made by.
func TestExpired(t *testing.T) {
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	s := serve(t, Options{Trust: Trust{TLS: side(t, a, named("127.0.0.1"))}}, echo)
	short := authority.Request{Names: []string{"one"}, Lifetime: 20 * time.Minute}
	c, _, err := Dial(t.Context(), s.addr, hello(), Options{Trust: Trust{TLS: side(t, a, short)}})
	require.NoError(t, err)
	defer c.Close()
	require.WithinDuration(t, time.Now().Add(time.Hour), c.expiry, 10*time.Minute, "of the listener's")

	for expiry, reason := range map[time.Time]string{
		{}: "", time.Now().Add(time.Hour): "", time.Now().Add(-time.Second): reasonExpired,
	} {
		got := (&Conn{expiry: expiry}).checkPeer()
		require.Equal(t, reason != "", got != nil)
		if got != nil {
			require.Equal(t, reason, got.Reason)
		}
	}
}

// What could let nobody in is a mistake in the flags.
func TestTrustIsChecked(t *testing.T) {
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	roles := newAccessFile(t, allRoles)
	config := func(change func(*tls.Config)) func() *tls.Config {
		c := side(t, a, named("127.0.0.1"))()
		change(c)
		return func() *tls.Config { return c }
	}
	for want, trust := range map[string]Trust{
		"--link.config.file has to ask": {Roles: roles, Peer: access.Receiver},
		"RequireAndVerifyClientCert":    {Roles: roles, Peer: access.Receiver, TLS: config(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })},
		"links use TLS 1.3":             {TLS: config(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
	} {
		_, err := Listen("127.0.0.1:0", Options{Trust: trust})
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, Trust{Roles: roles, Peer: access.Server}.CheckDialer("--server.tls"), "--server.tls-ca-file")
	require.NoError(t, Trust{Roles: roles, Peer: access.Proxy}.CheckDialer("--server.tls"), "nobody has the role")
	require.NoError(t, Trust{Roles: roles, Peer: access.Server, TLS: side(t, a, named())}.CheckDialer("--server.tls"))
}

// The parts of one process take each other for what they are, and nobody else for anything.
func TestPrivate(t *testing.T) {
	private, err := NewPrivate()
	require.NoError(t, err)
	other, err := NewPrivate()
	require.NoError(t, err)
	trust := func(p *Private, own, peer access.Role) Trust {
		trust, err := p.Trust(own, peer)
		require.NoError(t, err)
		return trust
	}
	s := serve(t, Options{Trust: trust(private, access.Forwarder, access.Receiver), HandshakeTimeout: time.Second}, echo)
	for name, c := range map[string]struct {
		dialler Trust
		ok      bool
	}{
		"receiver":            {trust(private, access.Receiver, access.Forwarder), true},
		"looks for a server":  {trust(private, access.Receiver, access.Server), false},
		"is a server":         {trust(private, access.Server, access.Forwarder), false},
		"of another process":  {trust(other, access.Receiver, access.Forwarder), false},
		"without certificate": {Trust{}, false},
	} {
		conn, _, err := Dial(t.Context(), s.addr, hello(), Options{Trust: c.dialler})
		require.Equal(t, c.ok, err == nil, "%s: %v", name, err)
		if c.ok {
			roundTrip(t, conn, 1000)
			require.NoError(t, conn.Close())
		}
	}
}
