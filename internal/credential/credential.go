// Package credential is what a caller proves to a server who it is with, besides a
// certificate: a bearer token, or a user and a password.
//
// It guarantees that files are read again for each use, so that they may be renewed in
// place, that no error has a secret in it, and that Cleartext finds every credential it
// is told of. Which headers hold a secret is known by their names only.
package credential

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"github.com/promgrpc/exporter/internal/renew"
)

// Header that credentials are sent in.
const Header = "Authorization"

// Files say who a caller is. The zero value is nobody.
type Files struct {
	// Token is the file of a bearer token.
	Token string
	// User and the file of its Password.
	User, Password string
}

// Given reports whether there is a credential.
func (f Files) Given() bool { return f != (Files{}) }

// Authorization reads the files and returns the value of the header, "" for nobody.
func (f Files) Authorization() (string, error) {
	switch {
	case f.Token != "":
		token, err := renew.Token(f.Token)
		if err != nil {
			return "", err
		}
		return "Bearer " + token, nil
	case f.User != "":
		return basic(f.User, f.Password)
	}
	return "", nil
}

// basic returns the header of a user whose password is in a file, without the space
// around it.
func basic(user, file string) (string, error) {
	if strings.ContainsFunc(user, func(r rune) bool { return r == ':' || r < ' ' || r == 0x7f }) {
		return "", errors.New("the name of a user has no colon and no control characters")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	password := strings.TrimSpace(string(b))
	if password == "" || strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%s: want a password, in one line", file)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)), nil
}

// secret matches the names of headers that usually hold a secret.
var secret = regexp.MustCompile(`(?i)(^|-)(authorization|cookie|token|secret|password|(api|access|auth)-?key)$`)

// IsSecret reports whether a header is a credential, by its name.
func IsSecret(header string) bool { return secret.MatchString(header) }

// CleartextError says that a credential was not sent, because others could read it.
type CleartextError struct {
	// Address that it was for.
	Address string
	// Header that it would have been sent in.
	Header string
}

func (e *CleartextError) Error() string {
	return fmt.Sprintf("%s: %s is not sent in the clear: it needs TLS, or an address of this machine", e.Address, e.Header)
}

// Cleartext returns a [*CleartextError] for a header that would be sent to an address,
// host:port, without TLS, unless the header is no secret or the address is this machine's.
func Cleartext(address, header string) error {
	if !IsSecret(header) || loopback(address) {
		return nil
	}
	return &CleartextError{Address: address, Header: header}
}

// loopback reports whether host:port is on this machine, by its text: a name may be
// resolved to anything.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}
