// Package identity says who is at the other end of a connection or a request, as far as
// that was proved.
//
// Guaranteed: a name comes from a certificate that was verified and has it spelt like that,
// and its kind cannot be mistaken: what looks like a URI was a URI in the certificate, what
// looks like an address was an address. A `*` in a pattern never stands for nothing, and
// never reaches beyond one label or path element.
//
// Not guaranteed: that a bearer token is anybody's. It is as it was sent.
package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"net"
	"slices"
	"strings"
)

// Identity is who makes a request. The zero value is anybody.
type Identity struct {
	// Names of a verified client certificate: URIs, DNS names, IP addresses. Nil: none.
	Names []string
	// User whose password was right, "" for none.
	User string
	// Token is the bearer token as it was sent, "" for none. Whoever knows tokens
	// proves it.
	Token string
	// Unproved says that there is a credential that nobody here can prove, such as a
	// password where there are no users.
	Unproved bool
}

// IsAnybody says that nothing is known of who makes the request.
func (id *Identity) IsAnybody() bool {
	return id.Names == nil && id.User == "" && id.Token == "" && !id.Unproved
}

type contextKey struct{}

// NewContext returns a context of a request that has an identity.
func NewContext(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// Of returns the identity of the request that a context belongs to, the zero value if
// nobody has looked for one.
func Of(ctx context.Context) Identity {
	id, _ := ctx.Value(contextKey{}).(Identity)
	return id
}

// NamesOf returns the names in the other side's certificate, nil if it has none or if it
// was not verified.
func NamesOf(state *tls.ConnectionState) []string {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil
	}
	leaf := state.VerifiedChains[0][0]
	var names []string
	for _, u := range leaf.URIs {
		if s := u.String(); isURI(s) && spelt(leaf, s) {
			names = append(names, s)
		}
	}
	for _, name := range leaf.DNSNames {
		// Go does not look at what a certificate has as a DNS name.
		if name != "" && !strings.ContainsAny(name, "/:") && net.ParseIP(name) == nil {
			names = append(names, name)
		}
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// spelt says whether a certificate has a URI as it is spelt. Go leaves out an empty
// fragment, and writes schemes in small letters: what differs from a name in no more than
// that is another one, to an authority that looks at what it signs.
func spelt(leaf *x509.Certificate, uri string) bool {
	const kindURI = 6 // of RFC 5280's GeneralName
	for _, e := range leaf.Extensions {
		var names []asn1.RawValue
		if !e.Id.Equal(subjectAltName) {
			continue
		}
		if _, err := asn1.Unmarshal(e.Value, &names); err != nil {
			return false
		}
		return slices.ContainsFunc(names, func(n asn1.RawValue) bool {
			return n.Class == asn1.ClassContextSpecific && n.Tag == kindURI && string(n.Bytes) == uri
		})
	}
	return false
}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

func isURI(name string) bool { return strings.Contains(name, "://") }
