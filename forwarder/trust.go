package forwarder

import (
	"log/slog"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/webconfig"
)

// trust is how the links are secured, and who may be at their other ends.
type trust struct {
	ofReceivers, ofServers link.Trust

	listener *webconfig.Config // nil: cleartext
	servers  *renew.TLS        // nil: cleartext
	access   *access.File      // nil: no roles
}

func newTrust(c Config, logger *slog.Logger) (t trust, err error) {
	if c.Private != nil {
		if t.ofReceivers, err = c.Private.Trust(access.Forwarder, access.Receiver); err != nil {
			return trust{}, err
		}
		t.ofServers, err = c.Private.Trust(access.Forwarder, access.Server)
		return t, err
	}
	if t.access, err = access.Open(c.AccessFile, logger); err != nil {
		return trust{}, err
	}
	if t.listener, err = webconfig.OpenTLS(link.FlagConfigFile, c.LinkConfigFile, logger); err != nil {
		return trust{}, err
	}
	t.ofReceivers = link.Listening(t.listener, t.access, access.Receiver)
	if t.servers, err = c.ServerTLS.Dialer(logger); err != nil {
		return trust{}, err
	}
	t.ofServers = link.Trust{TLS: t.servers.Getter(), Roles: t.access, Peer: access.Server}
	if c.Server == "" {
		return t, nil
	}
	return t, t.ofServers.CheckDialer(flagServerTLS)
}

// reloads is what was read of files.
func (t *trust) reloads() []daemon.Reload {
	return daemon.Reloads(
		daemon.Reload{What: access.Flag, Again: t.access.Again()},
		daemon.Reload{What: link.FlagConfigFile, Again: t.listener.Again()},
		daemon.Reload{What: "files of " + flagServerTLS, Again: t.servers.Again()},
	)
}
