package forwarder

import (
	"slices"

	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
)

// Reloads is what the forwarder reads from files, which may be renewed while it runs.
func (f *Forwarder) Reloads() []daemon.Reload {
	return slices.Concat(f.ops.Reloads(), f.trust.reloads(), daemon.Reloads(
		daemon.Reload{What: "files for --consul", Again: f.registrar.Reload()},
		daemon.Reload{What: "files for --server", Again: discovery.Reload(f.shipping.source)},
	))
}
