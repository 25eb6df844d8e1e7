package server

import (
	"log/slog"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/webconfig"
)

// trust is how the link listener is secured, and whom it takes for a forwarder.
type trust struct {
	ofForwarders link.Trust

	listener *webconfig.Config // nil: cleartext
	access   *access.File      // nil: no roles
}

func newTrust(c Config, logger *slog.Logger) (t trust, err error) {
	if t.access, err = access.Open(c.AccessFile, logger); err != nil {
		return trust{}, err
	}
	if c.Private != nil {
		t.ofForwarders, err = c.Private.Trust(access.Server, access.Forwarder)
		return t, err
	}
	if t.listener, err = webconfig.OpenTLS(link.FlagConfigFile, c.LinkConfigFile, logger); err != nil {
		return trust{}, err
	}
	t.ofForwarders = link.Listening(t.listener, t.access, access.Forwarder)
	return t, nil
}

// reloads is what was read of files.
func (t *trust) reloads() []daemon.Reload {
	return daemon.Reloads(
		daemon.Reload{What: access.Flag, Again: t.access.Again()},
		daemon.Reload{What: link.FlagConfigFile, Again: t.listener.Again()},
	)
}
