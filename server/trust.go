package server

import (
	"log/slog"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/webconfig"
	"github.com/promgrpc/exporter/server/admission"
)

// trust is how the link listener is secured, and whom it takes for a forwarder.
type trust struct {
	ofForwarders link.Trust

	listener *webconfig.Config // nil: cleartext
	// admission is by the access file, which names the forwarders, too. Nil: no roles, and
	// everybody may read everything.
	admission *admission.Admission
}

func newTrust(c Config, logger *slog.Logger) (t trust, err error) {
	if t.admission, err = admission.Open(c.AccessFile, c.Limits, logger); err != nil {
		return trust{}, err
	}
	if c.Private != nil {
		t.ofForwarders, err = c.Private.Trust(access.Server, access.Forwarder)
		return t, err
	}
	if t.listener, err = webconfig.OpenTLS(link.FlagConfigFile, c.LinkConfigFile, logger); err != nil {
		return trust{}, err
	}
	t.ofForwarders = link.Listening(t.listener, t.admission.File(), access.Forwarder)
	return t, nil
}

// reloads is what was read of files.
func (t *trust) reloads() []daemon.Reload {
	return daemon.Reloads(
		daemon.Reload{What: access.Flag, Again: t.admission.File().Again()},
		daemon.Reload{What: link.FlagConfigFile, Again: t.listener.Again()},
	)
}
