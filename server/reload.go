package server

import (
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
)

// Reloads is what the server reads from files, which may be renewed while it runs.
func (s *Server) Reloads() []daemon.Reload {
	all := append(s.ops.Reloads(), daemon.Reloads(
		daemon.Reload{What: "files of --link.tls", Again: s.linkTLS.Again()},
		daemon.Reload{What: "files for --consul", Again: s.registrar.Reload()},
	)...)
	if u := s.upstream; u != nil {
		all = append(all, daemon.Reloads(
			daemon.Reload{What: "files for --upstream", Again: discovery.Reload(u.source)},
			daemon.Reload{What: "files of --tls", Again: u.tls.Again()},
		)...)
	}
	return all
}
