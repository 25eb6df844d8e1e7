package identity

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Names are patterns of names in certificates: a URI, a DNS name or an IP address as it
// is, or with a `*` that stands for the first label of a DNS name, as in
// `*.example.org`, or for the rest of a URI's last path element, as in
// `spiffe://example.org/server-*`.
type Names []string

// Match says whether any of the names matches any pattern.
func (n Names) Match(names []string) bool {
	return slices.ContainsFunc(n, func(pattern string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return matches(pattern, name) })
	})
}

// Of the names in a certificate, of which there may be hundreds, a text has mostQuoted, with
// mostNameBytes of each.
const (
	mostQuoted    = 5
	mostNameBytes = 100
)

// Quote returns names in a text for errors, which travel in headers.
func Quote(names []string) string {
	quoted := make([]string, 0, mostQuoted+1)
	for i, name := range names {
		if i == mostQuoted {
			quoted = append(quoted, fmt.Sprintf("and %d more", len(names)-i))
			break
		}
		if len(name) > mostNameBytes {
			name = strings.ToValidUTF8(name[:mostNameBytes], "") + "…"
		}
		quoted = append(quoted, name)
	}
	return strings.Join(quoted, ", ")
}

func matches(pattern, name string) bool {
	if isURI(pattern) {
		prefix, wild := strings.CutSuffix(pattern, "*")
		if !wild {
			return name == pattern
		}
		rest, ok := strings.CutPrefix(name, prefix)
		return ok && rest != "" && !strings.ContainsAny(rest, "/?#")
	}
	if ip := net.ParseIP(pattern); ip != nil {
		return ip.Equal(net.ParseIP(name))
	}
	if isURI(name) || net.ParseIP(name) != nil {
		return false
	}
	if domain, wild := strings.CutPrefix(pattern, "*."); wild {
		label, of, ok := strings.Cut(name, ".")
		return ok && label != "" && strings.EqualFold(of, domain)
	}
	return strings.EqualFold(name, pattern)
}

// Check says which pattern could never match, or has a `*` where it stands for itself.
func (n Names) Check() error {
	for _, pattern := range n {
		if err := check(pattern); err != nil {
			return fmt.Errorf("%q: %w", pattern, err)
		}
	}
	return nil
}

func check(pattern string) error {
	if isURI(pattern) {
		return checkURI(pattern)
	}
	plain := strings.TrimPrefix(pattern, "*.")
	switch {
	case net.ParseIP(pattern) != nil:
		return nil
	case strings.Contains(plain, "*"):
		return fmt.Errorf("a * can only stand for the whole first label, as in *.example.org")
	case plain == "" || strings.HasPrefix(plain, ".") || strings.HasSuffix(plain, ".") || strings.Contains(plain, ".."):
		return fmt.Errorf("a label of the DNS name is empty")
	case strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/:@?#", r) }):
		return fmt.Errorf("it is neither a URI, a DNS name nor an IP address")
	}
	return nil
}

func checkURI(pattern string) error {
	plain := strings.TrimSuffix(pattern, "*")
	u, err := url.Parse(plain)
	switch {
	case err != nil:
		return fmt.Errorf("it is no URI: %w", err)
	case u.Scheme == "" || u.Host == "":
		return fmt.Errorf("the URI has no scheme or no host")
	case strings.Contains(plain, "*"):
		return fmt.Errorf("a * can only stand at the end of a URI")
	case plain != pattern && (u.Path == "" || strings.ContainsAny(plain, "?#")):
		return fmt.Errorf("a * can only stand for a path element, as in %s/*", strings.TrimSuffix(plain, "/"))
	case u.String() != plain:
		return fmt.Errorf("certificates spell it %q", u)
	}
	return nil
}
