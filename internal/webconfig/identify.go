package webconfig

import (
	"errors"
	"net/http"
	"strings"

	"github.com/promgrpc/exporter/internal/identity"
	"github.com/promgrpc/exporter/internal/limit"
)

// Refused says why a request is not let in, as HTTP has it.
type Refused struct {
	// Status is 401 without the right name and password, or with what is no credential,
	// 429 over the file's rate limit, 503 where too many passwords are being checked.
	Status int
	// Err is the reason, a [*limit.Error] with a status of 429 and 503.
	Err error
}

var (
	errNone    = errors.New("a name and a password are needed")
	errSeveral = errors.New("there are several Authorization headers, one is needed")
	errNoToken = errors.New("the bearer token is empty: is its file?")
)

// challenge is the WWW-Authenticate of a listener that has users.
const challenge = `Basic realm="prometheus-grpc-exporter", charset="UTF-8"`

func (r *Refused) setHeaders(h http.Header) {
	switch r.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", "1")
	}
}

// LimitChecks sets how many passwords may be under way of being checked, and how many of
// one peer.
func (c *Config) LimitChecks(most, share int) {
	if c != nil {
		c.password.limit(most, share)
	}
}

// LetTokensPass says of which requests somebody else proves the bearer tokens: these need
// no password. It is called before the first request.
func (c *Config) LetTokensPass(tokens func(*http.Request) bool) {
	if c != nil {
		c.tokens = tokens
	}
}

// identify returns who makes a request. A bearer token is never passed over for another
// credential, nor is a password where there are users.
func (c *Config) identify(s *settings, r *http.Request, peer string) (identity.Identity, *Refused) {
	sent := r.Header.Values("Authorization")
	token, err := bearer(sent)
	if err != nil {
		return identity.Identity{}, &Refused{Status: http.StatusUnauthorized, Err: err}
	}
	id := identity.Identity{Names: identity.NamesOf(r.TLS), Token: token}
	switch {
	case id.Token != "" && (len(s.users.names) == 0 || c.tokens != nil && c.tokens(r)):
		return id, nil
	case len(s.users.names) == 0:
		id.Unproved = len(sent) > 0
		return id, nil
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		return identity.Identity{}, &Refused{Status: http.StatusUnauthorized, Err: errNone}
	}
	err = c.password.check(peer, s.users, name, password)
	var over *limit.Error
	switch {
	case err == nil:
		id.User = name
		return id, nil
	case errors.As(err, &over):
		return identity.Identity{}, &Refused{Status: http.StatusServiceUnavailable, Err: err}
	}
	return identity.Identity{}, &Refused{Status: http.StatusUnauthorized, Err: err}
}

// bearer returns the bearer token in Authorization headers, "" if there is none.
func bearer(headers []string) (string, error) {
	switch len(headers) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", errSeveral
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", errNoToken
	}
	return token, nil
}
