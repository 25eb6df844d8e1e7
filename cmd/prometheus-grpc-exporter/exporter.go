package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/forwarder"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/receiver"
	"github.com/promgrpc/exporter/server"
)

// anyLocal is where the parts listen for each other and for nobody else.
const anyLocal = "127.0.0.1:0"

// exporter is all parts, connected over loopback as they are over a network.
type exporter struct {
	logger    *slog.Logger
	servers   []*server.Server
	forwarder *forwarder.Forwarder
	receiver  *receiver.Receiver
	self      *selfWriter
}

func newExporter(c config, env *daemon.Env) (_ *exporter, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.free(); err != nil {
		return nil, err
	}
	if c.private, err = link.NewPrivate(); err != nil {
		return nil, err
	}
	e := &exporter{logger: env.Logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	var links []string
	for i, address := range c.rpcAddresses {
		name := "server-" + strconv.Itoa(i+1)
		s, err := server.New(c.server(name, address), env.Logger.With("part", name), registerer(env, name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		e.servers = append(e.servers, s)
		links = append(links, s.LinkAddr().String())
	}
	if e.forwarder, err = forwarder.New(c.forwarder(links), env.Logger.With("part", "forwarder"), registerer(env, "forwarder")); err != nil {
		return nil, fmt.Errorf("forwarder: %w", err)
	}
	if e.receiver, err = receiver.New(c.receiver(e.forwarder.LinkAddr()), env.Logger.With("part", "receiver"), registerer(env, "receiver")); err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	if c.selfInterval > 0 {
		e.self = &selfWriter{
			gatherer: env.Registry,
			ready:    e.receiver.Ready,
			write:    e.receiver.WriteOwn,
			instance: dialable(e.receiver.WebAddr()),
			interval: c.selfInterval,
			logger:   env.Logger.With("part", "self"),
		}
	}
	return e, nil
}

func (c *config) server(name, address string) server.Config {
	s := server.DefaultConfig()
	s.Instance = name
	s.RPCAddress = address
	s.LinkAddress = anyLocal
	s.WebAddress, s.WebConfigFile = anyLocal, c.web
	s.RPCConfigFile, s.AccessFile, s.Private = c.rpc, c.access, c.private
	s.LimitConfig, s.DoorsConfig = c.serving, c.doors
	s.StorageConfig = c.StorageConfig
	s.StoragePath = filepath.Join(c.StoragePath, name)
	return s
}

func (c *config) forwarder(servers []string) forwarder.Config {
	f := forwarder.DefaultConfig()
	f.Instance = "forwarder"
	f.LinkAddress = anyLocal
	f.WebAddress, f.WebConfigFile, f.Private = anyLocal, c.web, c.private
	f.Server = strings.Join(servers, ",")
	f.StorageConfig, f.SegmentConfig, f.LimitConfig = c.StorageConfig, c.SegmentConfig, c.LimitConfig
	f.PairsConfig = c.PairsConfig
	f.StoragePath = filepath.Join(c.StoragePath, "forwarder")
	f.PeerShare = 100 // There is one receiver.
	return f
}

func (c *config) receiver(forwarder net.Addr) receiver.Config {
	r := receiver.DefaultConfig()
	r.Instance = "receiver"
	r.WebAddress, r.WebHosts, r.WebConfigFile = c.receiverAddress, c.webHosts, c.web
	r.TenantConfig, r.AccessFile, r.Private = c.TenantConfig, c.access, c.private
	r.RequestBytes, r.InflightBytes = c.RequestBytes, c.InflightBytes
	r.PeerShare = c.serving.PeerShare
	r.DecodedBytes = units.Base2Bytes(c.Limits.DecodedBytes)
	r.Forwarder = forwarder.String()
	return r
}

// partRegistry tells the metrics of the parts apart, and shows all of them.
type partRegistry struct {
	prometheus.Registerer
	prometheus.Gatherer
}

func registerer(env *daemon.Env, part string) prometheus.Registerer {
	return partRegistry{prometheus.WrapRegistererWith(prometheus.Labels{"part": part}, env.Registry), env.Registry}
}

// run works until ctx ends. Each part has ended before those that it hands its
// samples to.
func (e *exporter) run(ctx context.Context) error {
	e.announce()
	var g daemon.Group
	if e.self != nil {
		g.Add("self", e.self.run)
	}
	g.Add("receiver", e.receiver.Run)
	g.Add("forwarder", e.forwarder.Run)
	for i, s := range e.servers {
		g.Add("server-"+strconv.Itoa(i+1), s.Run)
	}
	return errors.Join(g.Run(ctx), e.close())
}

// reloads is what the parts read from files.
func (e *exporter) reloads() []daemon.Reload {
	all := append(e.receiver.Reloads(), e.forwarder.Reloads()...)
	for _, s := range e.servers {
		all = append(all, s.Reloads()...)
	}
	return all
}

// announce says how to get metrics in and out.
func (e *exporter) announce() {
	scheme, read := "http://", "prometheus-grpc-client get --follow "
	if e.receiver.SecuresTLS() {
		scheme = "https://"
	}
	var rpc []string
	for _, s := range e.servers {
		rpc = append(rpc, dialable(s.RPCAddr()))
	}
	if len(e.servers) > 0 && e.servers[0].SecuresTLS() {
		read += "--tls "
	}
	e.logger.Info("point a Prometheus here with remote_write", "url", scheme+dialable(e.receiver.WebAddr())+"/api/v1/write")
	e.logger.Info("read it back", "command", read+"--address "+strings.Join(rpc, ","))
}

// close frees what a part that did not run holds.
func (e *exporter) close() error {
	var errs []error
	if e.receiver != nil {
		errs = append(errs, e.receiver.Close())
	}
	if e.forwarder != nil {
		errs = append(errs, e.forwarder.Close())
	}
	for _, s := range e.servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// dialable is an address to reach a listener at from this machine.
func dialable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
	}
	return a.String()
}
