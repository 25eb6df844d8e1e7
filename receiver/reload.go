package receiver

import (
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
)

// Reloads is what the receiver reads from files, which may be renewed while it runs.
func (r *Receiver) Reloads() []daemon.Reload {
	return append(r.web.Reloads(), daemon.Reloads(
		daemon.Reload{What: "files for --forwarder", Again: discovery.Reload(r.pool.source)},
		daemon.Reload{What: "files of --forwarder.tls", Again: r.forwarderTLS.Again()},
	)...)
}
