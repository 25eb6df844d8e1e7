package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// maxCommonName is what X.509 allows of one.
const maxCommonName = 64

// setNames has a certificate be for names, each by its syntax a URI, an IP address or
// a DNS name. The first is its subject, for people to read.
func setNames(template *x509.Certificate, names []string) error {
	if len(names) == 0 {
		return errors.New("a certificate needs a name at least")
	}
	for _, name := range names {
		ip := net.ParseIP(name)
		switch {
		case strings.Contains(name, "://"):
			uri, err := url.Parse(name)
			if err != nil {
				return err
			}
			template.URIs = append(template.URIs, uri)
		case ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		case name == "" || strings.ContainsAny(name, " /:@"):
			return fmt.Errorf("%q is neither a DNS name, nor an IP address, nor a URI", name)
		default:
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if len(names[0]) <= maxCommonName {
		template.Subject.CommonName = names[0]
	}
	return nil
}
