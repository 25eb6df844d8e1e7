// Package address checks the syntax of addresses at the start of a program, so that a
// typo is an error there rather than a peer that is never reached.
//
// It says what is well-formed. Whether a name resolves, or anybody answers, shows when
// it is dialled.
package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// label of a DNS name, with the underscores of SRV records and container engines.
var label = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// Host checks a name or an IP address that others are to reach something by, and
// returns it without the brackets that an IPv6 address may have.
func Host(s string) (string, error) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
		if ip, err := netip.ParseAddr(bare); err != nil || !ip.Is6() {
			return "", fmt.Errorf("%q: only an IPv6 address stands in brackets", s)
		}
	}
	if ip, err := netip.ParseAddr(bare); err == nil {
		if zone := ip.Zone(); zone != "" && !label.MatchString(zone) {
			return "", fmt.Errorf("%q: its zone is not the name of an interface", s)
		}
		if ip.IsUnspecified() {
			return "", fmt.Errorf("%q is where to listen, nobody can be reached there", s)
		}
		return bare, nil
	}
	switch {
	case s == "":
		return "", errors.New("the host is empty")
	case strings.Contains(s, "://"):
		return "", fmt.Errorf("%q: want a host, without a scheme", s)
	case strings.Contains(s, ":"):
		return "", fmt.Errorf("%q: want a host, without a port", s)
	}
	return s, checkName(s)
}

func checkName(s string) error {
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, l := range labels {
		if !label.MatchString(l) {
			return fmt.Errorf("%q is neither a host name nor an IP address", s)
		}
	}
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 10, 64); err == nil || len(s) > 254 {
		return fmt.Errorf("%q is neither a host name nor an IP address", s)
	}
	return nil
}

// HostPort checks host:port that can be dialled.
func HostPort(s string) error {
	host, port, err := split(s)
	if err != nil {
		return err
	}
	if _, err := Host(host); err != nil && !unspecified(host) { // That is this machine.
		return fmt.Errorf("%s: %w", s, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%s: the port is not a number from 1 to 65535", s)
	}
	return nil
}

// Listen checks [host]:port that can be listened at, port 0 for any.
func Listen(s string) error {
	host, port, err := split(s)
	if err != nil {
		return err
	}
	if host != "" && !unspecified(host) {
		if _, err := Host(host); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%s: the port is not a number from 0 to 65535", s)
	}
	return nil
}

func split(s string) (host, port string, err error) {
	if strings.Contains(s, "://") {
		return "", "", fmt.Errorf("%s: want host:port, without a scheme", s)
	}
	if host, port, err = net.SplitHostPort(s); err != nil {
		return "", "", fmt.Errorf("%s: want host:port: %w", s, err)
	}
	return host, port, nil
}

func unspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}
