// Package authority makes a certificate authority and the certificates that it issues,
// for the links between the parts, for trying things out, and for tests.
//
// It guarantees that what it issues verifies by Go's own rules, at both ends of a
// connection, for each name of the request and for no other. It keeps no list of what
// it has issued and revokes nothing: a certificate is good until it ends, and whoever
// has the authority's key can issue any.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"
)

const (
	// skew is how far the clocks of those who verify may be behind.
	skew = 5 * time.Minute
	// early is how long before it was made an authority begins, so that what it issues
	// can begin as early.
	early = 24 * time.Hour
)

// Authority issues certificates. It is safe for concurrent use.
type Authority struct {
	pair *Pair
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority with a new key, whose certificate it signs itself.
func New(name string, lifetime time.Duration) (*Authority, error) {
	now := time.Now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-early), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	pair, err := sign(template, template, key, key)
	if err != nil {
		return nil, err
	}
	return Load(pair.Cert, pair.Key)
}

// Load takes up an authority that was made before, from PEM.
func Load(cert, key []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	private, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	switch {
	case !pair.Leaf.IsCA:
		return nil, fmt.Errorf("authority: the certificate of %s may not issue any", pair.Leaf.Subject)
	case !ok:
		return nil, fmt.Errorf("authority: the key of %s is not an ECDSA key", pair.Leaf.Subject)
	}
	return &Authority{pair: &Pair{Cert: cert, Key: key}, cert: pair.Leaf, key: private}, nil
}

// Pair returns the authority's own certificate and key.
func (a *Authority) Pair() *Pair { return a.pair }

// Cert returns the authority's certificate in PEM: what others verify with.
func (a *Authority) Cert() []byte { return a.pair.Cert }

// Pool returns the authority alone, for those who verify in this process.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Request for a certificate.
type Request struct {
	// Names that it is for: DNS names, IP addresses and URIs, at least one.
	Names []string
	// NotBefore is when it begins. Zero: now, for clocks that are somewhat behind, too.
	NotBefore time.Time
	// Lifetime from then, but not beyond the authority's own. 0: as long as that.
	Lifetime time.Duration
}

// Issue makes a certificate with a new key, good at both ends of a connection.
func (a *Authority) Issue(r Request) (*Pair, error) {
	template := &x509.Certificate{
		NotBefore: r.NotBefore, NotAfter: a.cert.NotAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	from := r.NotBefore
	if from.IsZero() {
		from = time.Now()
		template.NotBefore = from.Add(-skew)
	}
	if end := from.Add(r.Lifetime); r.Lifetime > 0 && end.Before(template.NotAfter) {
		template.NotAfter = end
	}
	if !template.NotAfter.After(from) {
		return nil, fmt.Errorf("authority: %s ends at %s, so that it can issue nothing", a.cert.Subject, a.cert.NotAfter.Format(time.RFC3339))
	}
	if err := setNames(template, r.Names); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return sign(template, a.cert, key, a.key)
}

// sign makes the certificate of a key. Go gives it a random serial number.
func sign(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (*Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return newPair(der, private), nil
}
