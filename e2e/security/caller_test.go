package security

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/authority"
)

// kinds of ports, as the table has them.
const (
	remoteWrite = "remote write"
	rpc         = "RPC"
	operators   = "operators'"
	links       = "link"
)

// port of a program.
type port struct {
	kind, program, address string
}

// right is who may call at a port, where roles and policies say so: a name of a
// certificate, of a token and of a user.
func (p port) right() string {
	switch {
	case p.kind == links && p.program == "forwarder":
		return "receiver"
	case p.kind == links:
		return "forwarder"
	case p.kind == remoteWrite:
		return "writer"
	}
	return "reader"
}

// other is who may do something else, and not call there.
func (p port) other() string {
	switch p.kind {
	case links:
		return "server"
	case remoteWrite:
		return "reader"
	}
	return "writer"
}

// caller is what one who calls has.
type caller struct {
	tls           *tls.Config // nil: cleartext
	authorization string
}

// withWrongToken has two credentials, of which one is right. Links know no tokens.
const withWrongToken = "one with the role or the policy, and a wrong token"

// callers by what the table says that they have.
var callers = map[string]func(a *authorities, p port) caller{
	"nothing":                           func(*authorities, port) caller { return caller{} },
	"TLS":                               func(a *authorities, _ port) caller { return caller{tls: a.trusting(a.ours)} },
	"TLS, and trusts another authority": func(a *authorities, _ port) caller { return caller{tls: a.trusting(a.theirs)} },
	"one of another authority":          func(a *authorities, p port) caller { return a.with(a.theirs, p.right(), time.Time{}) },
	"one that has expired":              func(a *authorities, p port) caller { return a.with(a.ours, p.right(), expired) },
	"one of the authority":              func(a *authorities, _ port) caller { return a.with(a.ours, "nobody", time.Time{}) },
	"one with another role or policy":   func(a *authorities, p port) caller { return a.with(a.ours, p.other(), time.Time{}) },
	"one with the role or the policy":   func(a *authorities, p port) caller { return a.with(a.ours, p.right(), time.Time{}) },
	"one of a proxy":                    func(a *authorities, _ port) caller { return a.with(a.ours, "haproxy", time.Time{}) },
	withWrongToken: func(a *authorities, p port) caller {
		c := a.with(a.ours, p.right(), time.Time{})
		c.authorization = "Bearer wrong"
		return c
	},
	"a wrong token":                      func(a *authorities, _ port) caller { return a.saying("Bearer wrong") },
	"the token of another policy":        func(a *authorities, p port) caller { return a.saying(bearer(p.other())) },
	"the token":                          func(a *authorities, p port) caller { return a.saying(bearer(p.right())) },
	"a wrong password":                   func(a *authorities, p port) caller { return a.saying(basic(p.right(), "wrong")) },
	"the password of a user without one": func(a *authorities, _ port) caller { return a.saying(basic("nobody", secretOf("nobody"))) },
	"the password":                       func(a *authorities, p port) caller { return a.saying(basic(p.right(), secretOf(p.right()))) },
}

func secretOf(name string) string { return "secret-of-" + name }
func bearer(name string) string   { return "Bearer " + secretOf(name) }
func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}
func (a *authorities) saying(s string) caller { return caller{a.trusting(a.ours), s} }

// expired is when a certificate began whose hour is over.
var expired = time.Now().Add(-2 * time.Hour)

// authorities are that of the deployment, and another.
type authorities struct {
	t            *testing.T
	ours, theirs *authority.Authority
}

func newAuthorities(t *testing.T) *authorities {
	t.Helper()
	a := &authorities{t: t}
	var err error
	a.ours, err = authority.New("ours", 24*time.Hour)
	require.NoError(t, err)
	a.theirs, err = authority.New("theirs", 24*time.Hour)
	require.NoError(t, err)
	return a
}

func (a *authorities) trusting(ca *authority.Authority) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool(), NextProtos: nil}
}

// with has a certificate of an authority, by the name that roles and policies go by.
func (a *authorities) with(by *authority.Authority, name string, from time.Time) caller {
	pair := a.issue(by, from, uri(name))
	c := a.trusting(a.ours)
	certificate, err := pair.TLS()
	require.NoError(a.t, err)
	// Even where the other side did not name the authority as one that it takes.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	return caller{tls: c}
}

func (a *authorities) issue(by *authority.Authority, from time.Time, names ...string) *authority.Pair {
	a.t.Helper()
	pair, err := by.Issue(authority.Request{Names: names, NotBefore: from, Lifetime: time.Hour})
	require.NoError(a.t, err)
	return pair
}

func uri(name string) string { return "spiffe://promgrpc/" + name }

// transport speaks HTTP/1.1 or 2, with TLS or without, and keeps no connection.
func (c caller) transport(version int) *http.Transport {
	t := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: c.tls.Clone(), DisableKeepAlives: version == 1}
	switch {
	case version == 1:
		t.Protocols.SetHTTP1(true)
	case c.tls == nil:
		t.Protocols.SetUnencryptedHTTP2(true)
	default:
		t.Protocols.SetHTTP2(true)
	}
	return t
}

// sender sends the requests of a caller.
type sender struct {
	*http.Transport
	authorization string
	// refused is the connection: nothing of the request was looked at.
	refused bool
}

// plainToTLS is what Go answers to HTTP/1.1 that comes where TLS is spoken.
const plainToTLS = "Client sent an HTTP request to an HTTPS server."

// RoundTrip adds the credential, and looks at what became of the connection.
func (s *sender) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if s.authorization != "" {
		r.Header.Set("Authorization", s.authorization)
	}
	res, err := s.Transport.RoundTrip(r)
	if err != nil {
		s.refused = true
		return nil, err
	}
	if res.StatusCode == http.StatusBadRequest {
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		// With the request unread, closing the connection may cut the answer off.
		s.refused = err != nil || strings.TrimSpace(string(body)) == plainToTLS
		res.Body = io.NopCloser(bytes.NewReader(body))
	}
	return res, nil
}

// sender for one call, over a version of HTTP.
func (c caller) sender(version int) *sender {
	return &sender{Transport: c.transport(version), authorization: c.authorization}
}

func (s *sender) client() *http.Client { return &http.Client{Transport: s, Timeout: patience} }

// url of a port.
func (c caller) url(p port, path string) string {
	scheme := "http://"
	if c.tls != nil {
		scheme = "https://"
	}
	return scheme + p.address + path
}

// patience is how long an answer may take on a machine that is busy.
const patience = time.Minute
