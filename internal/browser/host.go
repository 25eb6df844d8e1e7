package browser

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// excerpt is how much of what a client wrote is told.
const excerpt = 100

// AlwaysAllowed says, in the help of a flag, which names need none.
const AlwaysAllowed = "Always allowed are addresses, localhost, names without a dot, that of the machine, and those that end with .internal, .svc, .cluster.local or .consul; others could be names that a web page lets point here."

// private are the domains of which nobody can register a name for the internet: those of
// this machine, of a network's operator, of Kubernetes, and of Consul.
var private = []string{"localhost", "internal", "svc", "cluster.local", "consul"}

// Hosts are the names that a listener is called by. Addresses always are, so are names
// without a dot, such as those of containers, those below [private] domains, and that of
// the machine.
type Hosts struct {
	flag     string
	patterns []string
}

// NewHosts returns the names that are allowed by default, and those that were given by a
// flag: NAME, *.DOMAIN for all names below a domain, or * for any.
func NewHosts(flag string, patterns []string) (Hosts, error) {
	h := Hosts{flag: flag}
	if own, err := os.Hostname(); err == nil {
		h.patterns = append(h.patterns, canonical(own))
	}
	for _, domain := range private {
		h.patterns = append(h.patterns, domain, "*."+domain)
	}
	for _, pattern := range patterns {
		if err := checkPattern(pattern); err != nil {
			return h, fmt.Errorf("%s: %w", flag, err)
		}
		h.patterns = append(h.patterns, canonical(pattern))
	}
	return h, nil
}

func checkPattern(pattern string) error {
	name := strings.TrimPrefix(pattern, "*.")
	if pattern == "*" || name != "" && !strings.ContainsAny(name, "*/:@ ,[]") {
		return nil
	}
	return fmt.Errorf("%q is neither a host name without a port, nor *.DOMAIN, nor *", pattern)
}

// canonical is a name as it is compared.
func canonical(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// check looks at a Host header, or at the :authority of HTTP/2. There is none in HTTP/1.0,
// as health checks of balancers use it, and no browser leaves it out.
func (h Hosts) check(host string) *Refused {
	name := withoutPort(host)
	if host == "" || h.allow(canonical(name)) {
		return nil
	}
	name = cut(name)
	return &Refused{Reason: Host, Status: http.StatusMisdirectedRequest, text: fmt.Sprintf(
		"%q is not known to be a name of this listener, so it may be one that a web page of others lets point here; call an address, or allow the name by %s", name, h.flag)}
}

func (h Hosts) allow(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if name == "" {
		return false
	}
	return !strings.Contains(name, ".") || slices.ContainsFunc(h.patterns, func(pattern string) bool {
		domain, wild := strings.CutPrefix(pattern, "*")
		return name == pattern || wild && strings.HasSuffix(name, domain)
	})
}

func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func cut(s string) string {
	if len(s) <= excerpt {
		return s
	}
	return strings.ToValidUTF8(s[:excerpt], "") + "…"
}
