package receiver

import (
	"slices"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/placement"
)

// Reloads is what the receiver reads from files, which may be renewed while it runs.
func (r *Receiver) Reloads() []daemon.Reload {
	return slices.Concat(r.web.Reloads(), r.trust.reloads(), daemon.Reloads(
		daemon.Reload{What: access.Flag, Again: r.writers.again()},
		daemon.Reload{What: placement.Flag, Again: r.groups.reread()},
		daemon.Reload{What: "files for forwarders", Again: r.groups.again()},
	))
}
