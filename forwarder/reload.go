package forwarder

import (
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
)

// Reloads is what the forwarder reads from files, which may be renewed while it runs.
func (f *Forwarder) Reloads() []daemon.Reload {
	return append(f.ops.Reloads(), daemon.Reloads(
		daemon.Reload{What: "files of --link.tls", Again: f.linkTLS.Again()},
		daemon.Reload{What: "files for --consul", Again: f.registrar.Reload()},
		daemon.Reload{What: "files for --server", Again: discovery.Reload(f.shipping.source)},
		daemon.Reload{What: "files of --server.tls", Again: f.serverTLS.Again()},
	)...)
}
