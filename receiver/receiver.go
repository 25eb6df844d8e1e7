// Package receiver accepts Prometheus remote write over HTTP and passes it on to a
// forwarder.
//
// It guarantees that a request is answered with success only after the forwarder said
// that all of it is durable, that senders are asked to repeat whatever fails for now,
// and that its limits bound its memory whatever is sent. It keeps nothing: a request
// whose answer was lost may have been stored, and the forwarder recognises it when it
// comes again. What is in bodies is checked by the forwarder. With a groups file they are
// taken apart by the groups that their series belong to: then success is that all groups
// said so, and what one of them had stored is recognised there when all of it comes again.
package receiver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/link"
)

// readTimeout for a whole request, which is when Prometheus gives up as well.
const readTimeout = 30 * time.Second

// writePath is where Prometheus itself takes remote write.
const writePath = "/api/v1/write"

// Receiver is an HTTP server with a link to its forwarders.
type Receiver struct {
	web     *daemon.Web
	groups  *groups
	trust   trust
	writers *writers
}

// New binds the HTTP listener. Nothing is dialled and nobody answered before Run.
func New(c Config, logger *slog.Logger, reg prometheus.Registerer) (*Receiver, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Instance = daemon.Instance(c.Instance)
	file, err := access.Open(c.AccessFile, logger)
	if err != nil {
		return nil, err
	}
	trust, err := newTrust(c, file, logger)
	if err != nil {
		return nil, err
	}
	who := &writers{c.TenantConfig, file}
	if err := who.check(); err != nil {
		return nil, err
	}
	m := newMetrics(reg)
	to, err := newGroups(c, logger, m, link.Options{
		Logger:   logger,
		Metrics:  link.NewMetrics(reg),
		Instance: c.Instance,
		Trust:    trust.ofForwarders,
		MaxFrame: link.MaxSmall, // verdicts
	})
	if err != nil {
		return nil, err
	}
	h := newHandler(c, to, who, logger, m)
	mux := http.NewServeMux()
	mux.Handle("/{$}", h)
	mux.Handle(writePath, h)
	daemon.HandleOps(mux, c.OpsConfig, logger, reg, to.ready, "remote write is POST "+writePath+", and ")
	web, err := daemon.NewWeb(daemon.WebOptions{
		OpsConfig: c.OpsConfig, Handler: mux, Policies: file.HasPolicies(), ProvesToken: who.provesToken, Logger: logger, Registerer: reg,
		ReadTimeout: readTimeout, WriteTimeout: readTimeout + c.ForwarderTimeout + 10*time.Second,
	})
	if err != nil {
		return nil, err
	}
	return &Receiver{web: web, groups: to, trust: trust, writers: who}, nil
}

// Run serves until ctx ends, then gives the requests under way ten seconds to get their
// verdicts before it disconnects from the forwarders.
func (r *Receiver) Run(ctx context.Context) error {
	var g daemon.Group
	g.Add("web", r.web.Run)
	g.Add("forwarders", r.groups.run)
	return g.Run(ctx)
}

// WriteOwn writes a body of remote write 1.0 that is the process's own: it needs neither
// the listener nor anybody's leave, and has no tenant.
func (r *Receiver) WriteOwn(ctx context.Context, body []byte) error {
	v, err := r.groups.write(ctx, origin{}, &linkv1.Batch{Schema: linkv1.Schema_SCHEMA_WRITE_V1, Body: body}, func(int64) error { return nil })
	switch {
	case err != nil:
		return err
	case v.GetCode() != linkv1.Code_CODE_OK:
		return errors.New(describe(v))
	}
	return nil
}

// SecuresTLS says whether the HTTP listener is called by https.
func (r *Receiver) SecuresTLS() bool { return r.web.SecuresTLS() }

// WebAddr returns the address of the HTTP listener.
func (r *Receiver) WebAddr() net.Addr { return r.web.Addr() }

// Ready returns nil when a forwarder of every group is connected.
func (r *Receiver) Ready() error { return r.groups.ready() }

// Close frees the listener of a receiver that does not run. It may be called twice.
func (r *Receiver) Close() error { return r.web.Close() }
