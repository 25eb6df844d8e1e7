package server

import (
	"slices"

	"github.com/promgrpc/exporter/internal/daemon"
)

// Reloads is what the server reads from files that may be replaced while it runs.
func (s *Server) Reloads() []daemon.Reload {
	all := slices.Concat(s.ops.Reloads(), s.trust.reloads(), daemon.Reloads(
		daemon.Reload{What: flagRPCConfig, Again: s.rpcConfig.Again()},
		daemon.Reload{What: "files for --consul", Again: s.registrar.Reload()},
	))
	if s.upstream != nil {
		all = append(all, s.upstream.Reloads()...)
	}
	if s.peers != nil {
		all = append(all, s.peers.Reloads()...)
	}
	return all
}
