package server

import "github.com/promgrpc/exporter/internal/daemon"

// Reloads is what the server reads from files that may be replaced while it runs.
func (s *Server) Reloads() []daemon.Reload {
	all := append(s.ops.Reloads(), daemon.Reloads(
		daemon.Reload{What: "files of --link.tls", Again: s.linkTLS.Again()},
		daemon.Reload{What: "files for --consul", Again: s.registrar.Reload()},
	)...)
	if s.upstream != nil {
		all = append(all, s.upstream.Reloads()...)
	}
	return all
}
