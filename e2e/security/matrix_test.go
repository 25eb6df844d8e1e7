package security

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cases are what callers bring to each regime.
var cases = map[string][]string{
	"nothing":       {"nothing", "TLS"},
	"TLS":           {"nothing", "TLS", "TLS, and trusts another authority"},
	"a certificate": {"nothing", "TLS", "one of another authority", "one that has expired", "one of the authority"},
	"a certificate with a role or a policy": {
		"TLS", "one of another authority", "one that has expired", "one of the authority", "one with another role or policy", "one of a proxy", withWrongToken, "one with the role or the policy",
	},
	"TLS and a token":    {"nothing", "TLS", "a wrong token", "the token of another policy", "the token"},
	"TLS and a password": {"nothing", "TLS", "a wrong password", "a wrong token", "the password"},
	"TLS and a password with a policy": {
		"a wrong password", "a wrong token", "the password of a user without one", "the password",
	},
}

// programs that have each kind of port.
var programs = map[string][]string{
	remoteWrite: {"receiver", "all-in-one"},
	rpc:         {"server", "relay", "all-in-one"},
	operators:   {"server", "forwarder", "receiver", "relay", "all-in-one"},
	links:       {"server", "forwarder"},
}

// TestWhoGetsIn asks each port of each program, over each protocol, as each caller of the
// table in docs/security.md.
func TestWhoGetsIn(t *testing.T) {
	t.Parallel()
	tab := readTable(t, "the port asks for", "the caller has")
	tab.covers(t, cases, []string{remoteWrite, rpc, operators, links})
	certs := newAuthorities(t)
	for _, asks := range regimes {
		t.Run(asks.name, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t, asks, certs)
			for kind, names := range programs {
				var there []string
				for _, p := range d.ports {
					if p.kind == kind {
						there = append(there, p.program)
					}
				}
				assert.ElementsMatch(t, names, there, "programs with %s", kind)
			}
			for _, r := range tab.of(asks.name) {
				d.asked(t, r)
				d.run(t, r, programsOfAll)
			}
			d.open(t)
		})
	}
}

// asked asks all ports as one caller.
func (d *deployment) asked(t *testing.T, r row) {
	for _, p := range d.ports {
		want, ok := r.outcomes[p.kind]
		assert.Equal(t, d.concerns(p) && (p.kind != links || r.brought != withWrongToken), ok, "%s, %s: whether the table says something of %s", r.asked, r.brought, p.kind)
		if !ok {
			continue
		}
		for way, ask := range asks[p.kind] {
			got := outcome(want, func() string { return ask(t, callers[r.brought](d.certs, p), p) })
			assert.Equal(t, want, got, "the %s port of %s asks for %s, over %s comes who has %s", p.kind, p.program, r.asked, way, r.brought)
		}
	}
}

// outcome asks again for another answer than is wanted, since a machine that is too busy
// cuts connections off. But nobody gets in by asking again.
func outcome(want string, ask func() string) (got string) {
	for range 3 {
		if got = ask(); got == want || got == yes {
			break
		}
	}
	return got
}

// open asks for what needs nothing but a connection.
func (d *deployment) open(t *testing.T) {
	if d.asks.certificate {
		return // There is no connection.
	}
	c := caller{}
	if d.asks.tls {
		c.tls = d.certs.trusting(d.certs.ours)
	}
	ask := func(p port, want, method, path, text string) {
		r, err := http.NewRequestWithContext(t.Context(), method, c.url(p, path), strings.NewReader("{}"))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		assert.Equal(t, want, c.do(1, r, text), "%s of the %s port of %s, which asks for %s", path, p.kind, p.program, d.asks.name)
	}
	page := yes
	if d.asks.passwords {
		page = "401"
	}
	for _, p := range d.ports {
		switch p.kind {
		case operators:
			ask(p, yes, http.MethodGet, "/-/healthy", "healthy")
			ask(p, yes, http.MethodGet, "/-/ready", "ready")
		case rpc:
			ask(p, yes, http.MethodPost, "/grpc.health.v1.Health/Check", "SERVING")
			ask(p, page, http.MethodGet, "/", "<html")
			ask(p, page, http.MethodGet, "/openapi.yaml", "openapi")
		}
	}
}

// Every credential that the test has is one of a row, and every regime.
func TestCasesAreAsked(t *testing.T) {
	t.Parallel()
	for brought := range callers {
		assert.True(t, slices.ContainsFunc(regimes, func(r regime) bool { return slices.Contains(cases[r.name], brought) }), brought)
	}
	assert.Len(t, cases, len(regimes))
}
