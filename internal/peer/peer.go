// Package peer says at which address the other end of a request is, so that limits can be
// divided among peers. It is a guess at a machine, not an identity: it gives nobody
// access.
package peer

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks of balancers that are trusted to say who calls through
// them.
type Proxies []netip.Prefix

// ParseProxies reads addresses and networks, such as 10.0.0.7 and 10.1.0.0/16.
func ParseProxies(texts []string) (Proxies, error) {
	var p Proxies
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			address, addressErr := netip.ParseAddr(text)
			if addressErr != nil {
				return nil, fmt.Errorf("%q is neither an address nor a network such as 10.1.0.0/16", text)
			}
			network = netip.PrefixFrom(address, address.BitLen())
		}
		p = append(p, network)
	}
	return p, nil
}

func (p Proxies) contain(a netip.Addr) bool {
	for _, network := range p {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// Trusted says whether a remote address, with its port, is that of a proxy.
func (p Proxies) Trusted(remote string) bool {
	a, ok := parse(remote)
	return ok && p.contain(a)
}

// Of returns the peer of a request: its remote address without the port or, if that
// is a proxy, the address that the proxy adds to X-Forwarded-For. Of IPv6 it is
// the network of 64 bits, of which one machine has all addresses.
func (p Proxies) Of(r *http.Request) string { return p.of(r, false) }

// OfProxied is Of for a request that a proxy has sent, at whatever address.
func (p Proxies) OfProxied(r *http.Request) string { return p.of(r, true) }

// of takes the remote address for a proxy's if it is known to be.
func (p Proxies) of(r *http.Request, proxied bool) string {
	at, ok := parse(r.RemoteAddr)
	if !ok {
		return r.RemoteAddr
	}
	// What the caller itself wrote comes before what the proxies added.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && (proxied || p.contain(at)); i-- {
		hop, ok := parse(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		at, proxied = hop, false
	}
	return name(at)
}

// At returns the peer at a remote address, with or without a port.
func At(remote string) string {
	at, ok := parse(remote)
	if !ok {
		return remote
	}
	return name(at)
}

func name(at netip.Addr) string {
	if at.Is6() {
		network, _ := at.Prefix(64) // The length is valid.
		return network.String()
	}
	return at.String()
}

// parse reads an address with or without a port.
func parse(text string) (netip.Addr, bool) {
	if with, err := netip.ParseAddrPort(text); err == nil {
		return with.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(text)
	return a.Unmap().WithZone(""), err == nil
}
