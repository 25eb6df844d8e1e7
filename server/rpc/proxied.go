package rpc

import (
	"net/http"

	"github.com/promgrpc/exporter/internal/identity"
)

// peerOf returns whom a request is counted for. A proxy says so of the requests that it
// passes on.
func (s *Service) peerOf(r *http.Request) string {
	if s.hasProxyCertificate(r) {
		return s.Proxies.OfProxied(r)
	}
	return s.Proxies.Of(r)
}

// identityOf returns who makes a request. The certificate of what a proxy passes on is the
// proxy's own, whatever policy would have it.
func (s *Service) identityOf(r *http.Request) identity.Identity {
	id := identity.Of(r.Context())
	if r.Header.Get("X-Forwarded-For") != "" && s.proxied(r) {
		id.Names = nil
	}
	return id
}

// proxied says whether a proxy that is trusted has sent a request: by its address, or by
// its certificate.
func (s *Service) proxied(r *http.Request) bool {
	return s.Proxies.Trusted(r.RemoteAddr) || s.hasProxyCertificate(r)
}

func (s *Service) hasProxyCertificate(r *http.Request) bool {
	return s.Admission.File().IsProxy(identity.NamesOf(r.TLS))
}
