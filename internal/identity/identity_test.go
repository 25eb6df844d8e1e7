package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNamesOf(t *testing.T) {
	uri, err := url.Parse("spiffe://promgrpc/server")
	require.NoError(t, err)
	opaque, err := url.Parse("mailto:a")
	require.NoError(t, err)
	leaf := &x509.Certificate{
		URIs:        []*url.URL{uri, opaque},
		DNSNames:    []string{"a.example.org", "spiffe://promgrpc/forwarder", "10.0.0.9", "::1", "", "a/b"},
		IPAddresses: []net.IP{net.ParseIP("10.0.0.1"), net.ParseIP("::1")},
	}
	assert.Nil(t, NamesOf(nil))
	assert.Nil(t, NamesOf(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}), "it was not verified")
	verified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
	assert.Equal(t, []string{"spiffe://promgrpc/server", "a.example.org", "10.0.0.1", "::1"}, NamesOf(verified),
		"a DNS name passes neither for a URI nor for an address")
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"spiffe://a/b", "spiffe://a/b", true},
		{"spiffe://a/b", "spiffe://a/bc", false},
		{"spiffe://a/b", "spiffe://a/B", false},
		{"spiffe://a/b-*", "spiffe://a/b-1", true},
		{"spiffe://a/b-*", "spiffe://a/b-", false},
		{"spiffe://a/b-*", "spiffe://a/b-1/c", false},
		{"spiffe://a/b-*", "spiffe://a/b-1?c", false},
		{"spiffe://a/*", "spiffe://a/b", true},
		{"spiffe://a/*", "spiffe://a/", false},
		{"spiffe://a/*", "a", false},
		{"example.org", "example.org", true},
		{"example.org", "Example.ORG", true},
		{"example.org", "a.example.org", false},
		{"*.example.org", "a.example.org", true},
		{"*.example.org", "a.EXAMPLE.org", true},
		{"*.example.org", "a.b.example.org", false},
		{"*.example.org", "example.org", false},
		{"*.example.org", ".example.org", false},
		{"*.0.0.1", "10.0.0.1", false},
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"::1", "0:0:0:0:0:0:0:1", true},
		{"10.0.0.1", "example.org", false},
	} {
		require.NoError(t, Names{c.pattern}.Check())
		assert.Equal(t, c.want, Names{"other.example.com", c.pattern}.Match([]string{"third.example.net", c.name}), "%s %s", c.pattern, c.name)
	}
	assert.False(t, Names{"*.example.org"}.Match(nil))
	assert.False(t, Names(nil).Match([]string{"example.org"}))
}

func TestCheck(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                "empty",
		"*":               "first label",
		"*.":              "empty",
		"a..b":            "empty",
		".a":              "empty",
		"a.*.b":           "first label",
		"a*.b":            "first label",
		"*.*.b":           "first label",
		"a b":             "neither",
		"a:80":            "neither",
		"a/b":             "neither",
		"ä.example.org":   "neither",
		"spiffe://a/*/b":  "at the end",
		"spiffe://a/**":   "at the end",
		"spiffe://*":      "no host",
		"spiffe://a*":     "path element",
		"spiffe:///a":     "no host",
		"://a":            "no URI",
		"spiffe://a/b c":  "spell it",
		"spiffe://a/b?c*": "path element",
	} {
		assert.ErrorContains(t, Names{"example.org", pattern}.Check(), want, pattern)
	}
}

func TestContext(t *testing.T) {
	id := Identity{Names: []string{"a"}, User: "b", Token: "c"}
	assert.Equal(t, id, Of(NewContext(context.Background(), id)))
	assert.Equal(t, Identity{}, Of(context.Background()))
}

// What a pattern matches does not depend on how names are spelt beyond what the
// comments say, and nothing makes it panic.
func FuzzNames(f *testing.F) {
	f.Add("spiffe://a/b-*", "spiffe://a/b-1")
	f.Add("*.example.org", "a.example.org")
	f.Add("10.0.0.1", "::ffff:10.0.0.1")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if (Names{pattern}).Check() != nil {
			return
		}
		if matched := (Names{pattern}).Match([]string{name}); matched && isURI(pattern) != isURI(name) {
			t.Errorf("%q matches %q, which is of another kind", pattern, name)
		}
		assert.False(t, Names{pattern}.Match([]string{""}))
	})
}
