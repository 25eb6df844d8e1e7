package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certificate has names of the kinds of RFC 5280's GeneralName, as an authority may sign them.
func certificate(t *testing.T, names ...asn1.RawValue) *x509.Certificate {
	t.Helper()
	for i := range names {
		names[i].Class = asn1.ClassContextSpecific
	}
	value, err := asn1.Marshal(names)
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), ExtraExtensions: []pkix.Extension{{Id: subjectAltName, Value: value}}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return leaf
}

func verified(leaf *x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
}

func uriOf(s string) asn1.RawValue { return asn1.RawValue{Tag: 6, Bytes: []byte(s)} }
func dnsOf(s string) asn1.RawValue { return asn1.RawValue{Tag: 2, Bytes: []byte(s)} }

func TestNamesOf(t *testing.T) {
	leaf := certificate(t, uriOf("spiffe://promgrpc/server"), uriOf("mailto:a"),
		dnsOf("a.example.org"), dnsOf("spiffe://promgrpc/forwarder"), dnsOf("10.0.0.9"), dnsOf("::1"), dnsOf("a/b"),
		asn1.RawValue{Tag: 7, Bytes: net.ParseIP("10.0.0.1").To4()}, asn1.RawValue{Tag: 7, Bytes: net.ParseIP("::1")})
	assert.Nil(t, NamesOf(nil))
	assert.Nil(t, NamesOf(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}), "it was not verified")
	assert.Equal(t, []string{"spiffe://promgrpc/server", "a.example.org", "10.0.0.1", "::1"}, NamesOf(verified(leaf)),
		"a DNS name passes neither for a URI nor for an address")
}

// What only looks like a name with a role has none.
func TestSpelling(t *testing.T) {
	role := Names{"spiffe://promgrpc/server"}
	for _, name := range []string{
		"spiffe://promgrpc/server#", "SPIFFE://promgrpc/server", "spiffe://PROMGRPC/server", "spiffe://promgrpc/serve%72",
		"spiffe://promgrpc/server/", "spiffe://promgrpc/./server", "spiffe://promgrpc/server?", "spiffe://@promgrpc/server",
		"spiffe://promgrpc:/server", "spiffe://promgrpc//server", "spiffe://promgrpc/server%00",
	} {
		assert.False(t, role.Match(NamesOf(verified(certificate(t, uriOf(name))))), name)
	}
	assert.True(t, role.Match(NamesOf(verified(certificate(t, uriOf("spiffe://promgrpc/server"))))))
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

// However many names a certificate has, and however long, an error has few.
func TestQuote(t *testing.T) {
	many := make([]string, 1000)
	for i := range many {
		many[i] = strings.Repeat("ä", 1000)
	}
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, ""},
		{[]string{"a"}, "a"},
		{[]string{"a", "b", "c", "d", "e"}, "a, b, c, d, e"},
		{[]string{"a", "b", "c", "d", "e", "f", "g"}, "a, b, c, d, e, and 2 more"},
		{many, strings.Repeat(strings.Repeat("ä", 50)+"…, ", 5) + "and 995 more"},
	} {
		assert.Equal(t, c.want, Quote(c.names))
	}
}
