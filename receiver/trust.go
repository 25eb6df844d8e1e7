package receiver

import (
	"log/slog"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/renew"
)

// trust is how the links are secured, and who may be at their other ends.
type trust struct {
	ofForwarders link.Trust

	forwarders *renew.TLS // nil: cleartext
}

func newTrust(c Config, file *access.File, logger *slog.Logger) (t trust, err error) {
	if c.Private != nil {
		t.ofForwarders, err = c.Private.Trust(access.Receiver, access.Forwarder)
		return t, err
	}
	if t.forwarders, err = c.ForwarderTLS.Dialer(logger); err != nil {
		return trust{}, err
	}
	t.ofForwarders = link.Trust{TLS: t.forwarders.Getter(), Roles: file, Peer: access.Forwarder}
	return t, t.ofForwarders.CheckDialer(flagForwarderTLS)
}

// reloads is what was read of files.
func (t *trust) reloads() []daemon.Reload {
	return daemon.Reloads(
		daemon.Reload{What: "files of " + flagForwarderTLS, Again: t.forwarders.Again()},
	)
}
