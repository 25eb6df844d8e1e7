package forwarder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/usage"
)

// Forwarder is a running forwarder.
type Forwarder struct {
	logger    *slog.Logger
	store     *seglog.Store
	room      room
	in        *ingest
	appender  *appender
	receivers receivers
	shipping  shipping
	listener  *link.Listener
	trust     trust
	ops       *daemon.Web
	registrar *discovery.Registrar // Nil: not to be registered.

	closeOnce sync.Once
	closeErr  error
}

// New opens the log, rebuilds what is known of it, and binds the listeners.
// Whoever does not call Run calls Close.
func New(c Config, logger *slog.Logger, reg prometheus.Registerer) (_ *Forwarder, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Instance = daemon.Instance(c.Instance)
	f := &Forwarder{logger: logger}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	f.room = newRoom(&c.LimitConfig)
	m := newMetrics(reg, f.room.used)
	c.ShowFirst = c.AckServers > 0
	if f.store, err = c.Open(&c.SegmentConfig, logger, reg); err != nil {
		return nil, err
	}
	f.in = newIngest(&c.LimitConfig, f.room.working, m)
	f.in.senders = c.labels()
	if c.AckServers > 0 {
		f.in.confirming = newConfirming(c.AckServers, c.AckTimeout, logger, m)
		f.in.confirming.answer = f.in.answer
	}
	if f.appender, err = newAppender(f.in, folder{f.store}, c, logger); err != nil {
		return nil, err
	}
	if f.in.confirming != nil {
		f.in.confirming.expired = f.appender.ended.expired
	}
	f.receivers = receivers{in: f.in, appender: f.appender}
	if f.trust, err = newTrust(c, logger); err != nil {
		return nil, err
	}
	linkMetrics := link.NewMetrics(reg)
	if err := f.setupShipping(c, linkMetrics, m); err != nil {
		return nil, err
	}
	f.listener, err = link.Listen(c.LinkAddress, link.Options{
		Logger: logger, Metrics: linkMetrics, Instance: c.Instance, Trust: f.trust.ofReceivers,
		MaxFrame: c.maxFrame(), Room: f.room.reading,
		MaxConns: c.LinkConns, PeerShare: c.PeerShare,
	})
	if err != nil {
		return nil, err
	}
	daemon.LinkListener(f.listener).Log(logger)
	if f.ops, err = daemon.NewOps(c.OpsConfig, logger, reg, f.status); err != nil {
		return nil, err
	}
	if c.Consul != "" {
		if f.registrar, err = discovery.NewRegistrar(f.registration(c), logger); err != nil {
			return nil, &usage.Error{Err: err}
		}
	}
	return f, nil
}

func (f *Forwarder) setupShipping(c Config, linkMetrics *link.Metrics, m *metrics) error {
	f.shipping = shipping{logger: f.logger, answered: make(chan struct{}), toShip: toShip{
		log: f.appender.log, ended: f.appender.ended, diverged: f.appender.report, confirming: f.in.confirming, news: f.appender.news(), metrics: m,
	}}
	if c.Server == "" {
		f.logger.Warn("no servers to send the log to, it is only stored (--server)")
		return nil
	}
	source, err := discovery.Parse(c.Server, discovery.Options{
		Logger: f.logger, PortMeta: discovery.MetaLinkPort,
		// An empty server becomes ready by what it is sent.
		Unready: true,
	})
	if err != nil {
		return usage.Errorf("--server: %w", err)
	}
	f.shipping.source = source
	f.shipping.options = link.Options{
		Logger: f.logger, Metrics: linkMetrics, Instance: c.Instance, Trust: f.trust.ofServers,
		MaxFrame: link.MaxSmall, // positions
	}
	return nil
}

// registration is what receivers find in Consul.
func (f *Forwarder) registration(c Config) discovery.Registration {
	return discovery.Registration{
		ConsulConfig: c.ConsulConfig,
		Service:      discovery.ServiceForwarder, Instance: c.Instance, Listener: f.listener.Addr(),
		Meta:  map[string]string{discovery.MetaWebPort: strconv.Itoa(discovery.Port(f.ops.Addr()))},
		Ready: f.Ready,
	}
}

// Run works until ctx ends. Then it answers what it has received, gives the servers a
// moment to confirm the rest, and closes the log.
func (f *Forwarder) Run(ctx context.Context) error {
	var g daemon.Group
	if f.registrar != nil {
		g.Add("consul", f.registrar.Run) // Receivers go elsewhere before it ends.
	}
	// Once the receivers are disconnected the stages end one after the other, so
	// every batch that was received gets its verdict.
	g.Add("link", func(ctx context.Context) error {
		var stages sync.WaitGroup
		stages.Go(f.in.decodeAll)
		stages.Go(f.appender.run)
		stages.Go(func() { f.in.answerAll(f.appender.failed) })
		err := f.listener.Run(ctx, f.receivers.serve)
		close(f.in.decode)
		stages.Wait()
		close(f.shipping.answered)
		return err
	})
	if f.shipping.source != nil {
		g.Add("shipping", f.shipping.run)
	}
	g.Add("web", f.ops.Run)
	err := g.Run(ctx)
	return errors.Join(err, f.Close())
}

// LinkAddr is the address of the listener for receivers.
func (f *Forwarder) LinkAddr() net.Addr { return f.listener.Addr() }

// Ready says why the forwarder cannot store batches, nil when it can.
func (f *Forwarder) Ready() error { return f.appender.ready() }

// status is Ready with what is wrong although it is.
func (f *Forwarder) status() error {
	if err := f.Ready(); err != nil {
		return err
	}
	return f.in.confirming.remark()
}

// Close frees what New opened. It may be called twice, but not while Run works.
func (f *Forwarder) Close() error {
	f.closeOnce.Do(func() { f.closeErr = f.close() })
	return f.closeErr
}

func (f *Forwarder) close() error {
	var errs []error
	if f.in != nil {
		f.in.confirming.end()
	}
	if f.ops != nil {
		errs = append(errs, f.ops.Close())
	}
	if f.listener != nil {
		errs = append(errs, f.listener.Close())
	}
	if f.appender != nil {
		if err := f.appender.close(); err != nil {
			errs = append(errs, fmt.Errorf("close log: %w", err))
		}
	}
	if f.store != nil {
		errs = append(errs, f.store.Close())
	}
	return errors.Join(errs...)
}
