package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/listen"
	"github.com/promgrpc/exporter/internal/peer"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/internal/webconfig"
	"github.com/promgrpc/exporter/server/archive"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/catalog"
	"github.com/promgrpc/exporter/server/feed"
	"github.com/promgrpc/exporter/server/history"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/query"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/rpc"
	"github.com/promgrpc/exporter/server/rule"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/schedule"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/storeapi"
	"github.com/promgrpc/exporter/server/stored"
	"github.com/promgrpc/exporter/server/stream"
)

// Server is a running server.
type Server struct {
	config      Config
	logger      *slog.Logger
	log         *throttle.Logger // for what clients can cause
	store       *seglog.Store
	replicas    *replica.Set
	archive     *archive.Archive // nil: there is no bucket
	evaluations *selection.Evaluations
	history     *history.Store
	samples     *samples.Store
	engine      *promql.Engine
	queryBytes  *limit.Budget // of evaluations and their results
	refusals    *refusal.Refusals
	serving     *call.Calls
	streams     *stream.Streams
	catalog     *catalog.Catalog
	queries     *query.Queries
	rules       *rule.Rules
	stored      *stored.Calls
	feed        *feed.Feed
	upstream    *feed.Upstream // of a relay, nil in all others
	peers       *feed.Peers    // nil: none
	listener    *link.Listener // of forwarders, nil in a relay
	trust       trust
	rpc         *rpc.Service
	rpcListener net.Listener
	rpcConfig   *webconfig.Config // of it; nil: none
	conns       *limit.Budget     // open to the RPC port
	calls       *limit.Budget     // bytes that requests and answers take
	lookups     *limit.Budget     // turns
	decodes     *limit.Budget     // turns
	ops         *daemon.Web
	// registrar is nil if the server is not registered.
	registrar *discovery.Registrar

	started  time.Time
	draining atomic.Bool

	closeOnce sync.Once
	closeErr  error
}

// New opens the logs of the storage folder, rebuilds their states, and binds the
// listeners. If Run is not called, Close has to be.
func New(c Config, logger *slog.Logger, reg prometheus.Registerer) (_ *Server, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Instance = daemon.Instance(c.Instance)
	s := newServer(c, logger)
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.trust, err = newTrust(c, logger); err != nil {
		return nil, err
	}
	if err = s.openRPCConfig(reg); err != nil {
		return nil, err
	}
	if err = s.openArchive(logger); err != nil {
		return nil, err
	}
	if err = s.openStore(reg); err != nil {
		return nil, err
	}
	if err = s.openQueries(reg); err != nil {
		return nil, err
	}
	s.openRooms()
	for _, r := range s.replicas.All() {
		r.MarkStale(s.streams.LiveSince())
		logger.Info("log opened", "log_id", r.ID.String(), "last_sequence", r.Log.Last(), "series", r.Head.Len())
	}
	logger.Info("storage opened", "path", c.StoragePath, "duration", time.Since(s.started))
	if err = s.openFeeders(reg); err != nil {
		return nil, err
	}
	if s.rpcListener, err = listen.TCP(c.rpcFlag(), c.RPCAddress); err != nil {
		return nil, err
	}
	s.rpcPort().Log(logger)
	if s.ops, err = daemon.NewOps(c.OpsConfig, logger, reg, s.Ready); err != nil {
		return nil, err
	}
	if c.Consul != "" {
		if s.registrar, err = discovery.NewRegistrar(s.registration(), logger); err != nil {
			return nil, &usage.Error{Err: err}
		}
	}
	if reg != nil {
		if err := reg.Register(collector{s}); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return s, nil
}

// openStore opens the logs, of which the bucket may have a part.
func (s *Server) openStore(reg prometheus.Registerer) (err error) {
	storage := s.config.StorageConfig
	if s.archive != nil {
		storage.Remote = s.archive
	}
	if s.store, err = storage.Open(nil, s.logger, reg); err != nil {
		return err
	}
	if s.replicas, err = replica.Open(s.store, s.config.openWindows(s.logger), s.logger); err != nil {
		return err
	}
	if s.archive != nil {
		s.archive.Serve(s.replicas)
	}
	return nil
}

// newServer returns a server that has its limits, and nothing that is to be closed.
func newServer(c Config, logger *slog.Logger) *Server {
	return &Server{
		config: c, logger: logger, log: throttle.New(logger, 10*time.Second),
		refusals:    refusal.New(),
		started:     time.Now(),
		conns:       c.Conns(),
		calls:       c.CallRoom(),
		lookups:     c.Turns(),
		decodes:     c.Budget(stream.FlagDecodes, "turns", int64(c.Decodes)),
		evaluations: c.Matching(),
	}
}

// openRPCConfig reads the web configuration file of the RPC port.
func (s *Server) openRPCConfig(reg prometheus.Registerer) (err error) {
	if s.rpcConfig, err = webconfig.Open(flagRPCConfig, s.config.RPCConfigFile, s.logger); err != nil {
		return err
	}
	s.rpcConfig.Register(reg)
	s.rpcConfig.LimitChecks(s.config.PasswordChecks, int(s.config.Share(int64(s.config.PasswordChecks))))
	return nil
}

// openRooms makes what works on the replicas.
func (s *Server) openRooms() {
	c := s.config
	streamBytes := c.StateRoom()
	s.serving = c.Calls(call.Shared{Refusals: s.refusals, Admission: s.trust.admission, Log: s.log, Bytes: streamBytes, Begun: s.begunServing})
	s.streams = stream.New(c.Config, stream.Shared{Calls: s.serving, Replicas: s.replicas, Evaluations: s.evaluations, Decodes: s.decodes})
	s.catalog = &catalog.Catalog{
		Calls: s.serving, Replicas: s.replicas, Evaluations: s.evaluations, Lookups: s.lookups, LiveSince: s.streams.LiveSince,
		Upstream: s.upstreamAddress, Bucket: s.bucketStatus,
	}
	clock := schedule.NewClock(schedule.NewLogs(s.replicas, c.IdleAfter, c.Settle))
	s.queries = query.New(query.Config{Lookback: c.Engine.Lookback, CursorWait: c.CursorWait}, query.Shared{
		Engine: s.engine, Clock: clock, Calls: s.serving,
	})
	s.rules = rule.New(c.Rules, rule.Shared{Engine: s.engine, Clock: clock, Calls: s.serving, CursorWait: c.CursorWait})
	s.stored = &stored.Calls{Engine: s.engine, Source: s.samples, Clock: clock, CursorWait: c.CursorWait, Calls: s.serving}
	s.feed = feed.New(s.replicas, s.log, streamBytes, c.Budget(feed.FlagNewLogs, "logs", int64(c.NewLogs)), s.trust.ofForwarders)
	// These were checked.
	proxies, _ := peer.ParseProxies(c.TrustedProxies)
	external, _ := storeapi.ParseExternal(c.StoreLabels, c.Instance)
	s.rpc = rpc.New(c.RPC(), rpc.Shared{
		Backend: backend{s.streams, s.queries, s.rules, s.stored, s.catalog}, Calls: s.serving, Refusals: s.refusals, Engine: s.engine,
		Store: storeapi.New(storeapi.Shared{External: external, Samples: s.samples, Engine: s.engine, Calls: s.serving}),
		Log:   s.log, Web: s.rpcConfig, Admission: s.trust.admission,
		Proxies: proxies, Conns: s.conns, Bytes: s.calls,
		Started: s.started, Ready: s.Ready, Listeners: s.listeners,
	})
}

// backend answers the calls from the logs of a server.
type backend struct {
	*stream.Streams
	*query.Queries
	*rule.Rules
	*stored.Calls
	*catalog.Catalog
}

// begunServing says why nothing is served yet, nil once there is a log.
func (s *Server) begunServing() error {
	if len(s.replicas.Serving()) == 0 {
		return stream.ErrNotReady
	}
	return nil
}

func (s *Server) upstreamAddress() string {
	if s.upstream == nil {
		return ""
	}
	return s.upstream.Address()
}

// openFeeders makes what logs come from.
func (s *Server) openFeeders(reg prometheus.Registerer) (err error) {
	c, roles := s.config, s.trust.admission.File()
	if c.Upstream != "" {
		s.upstream, err = feed.NewUpstream(s.feed, c.Upstream, c.UpstreamFlags, roles, s.logger)
		return err
	}
	if c.Peers != "" {
		self := feed.Self{Instance: c.Instance, Started: s.started}
		if s.archive != nil {
			self.Bucket = s.archive.Asked
		}
		if s.peers, err = feed.NewPeers(s.feed, c.Peers, c.PeerFlags, roles, self, s.logger); err != nil {
			return err
		}
	}
	return s.listen(reg)
}

// listen listens for forwarders.
func (s *Server) listen(reg prometheus.Registerer) error {
	var err error
	s.listener, err = link.Listen(s.config.LinkAddress, link.Options{
		Logger: s.logger, Metrics: link.NewMetrics(reg), Instance: s.config.Instance, Trust: s.trust.ofForwarders,
		MaxFrame: feed.MaxLinkFrame, Room: feed.NewLinkRoom(int64(s.config.LinkBytes), s.config.PeerShare),
		MaxConns: s.config.LinkConns, PeerShare: s.config.PeerShare,
	})
	if err != nil {
		return err
	}
	daemon.LinkListener(s.listener).Log(s.logger)
	return nil
}

func (s *Server) rpcPort() daemon.Listener {
	l := daemon.NewListener("rpc", s.rpcListener.Addr(), s.rpcConfig, flagRPCConfig)
	l.Policies = s.trust.admission.File().HasPolicies()
	return l
}

// listeners are all that this server has.
func (s *Server) listeners() []daemon.Listener {
	all := []daemon.Listener{s.rpcPort(), s.ops.Listener()}
	if s.listener != nil {
		all = append(all, daemon.LinkListener(s.listener))
	}
	return all
}

// registration is what forwarders, balancers and clients find in Consul.
func (s *Server) registration() discovery.Registration {
	encrypted := s.rpcConfig.TLS()
	// The agent has no certificate to show.
	open := encrypted == nil || encrypted.ClientAuth != tls.RequireAnyClientCert && encrypted.ClientAuth != tls.RequireAndVerifyClientCert
	return discovery.Registration{
		ConsulConfig: s.config.ConsulConfig,
		Service:      discovery.ServiceServer, Instance: s.config.Instance, Listener: s.rpcListener.Addr(),
		Tags: []string{"grpc", "connect"},
		Meta: map[string]string{
			discovery.MetaLinkPort: strconv.Itoa(discovery.Port(s.listener.Addr())),
			discovery.MetaWebPort:  strconv.Itoa(discovery.Port(s.ops.Addr())),
		},
		GRPC: open, TLS: encrypted != nil,
		Ready: s.Ready,
	}
}

// LinkAddr is where forwarders connect.
func (s *Server) LinkAddr() net.Addr { return s.listener.Addr() }

// RPCAddr is where the MetricsService is served.
func (s *Server) RPCAddr() net.Addr { return s.rpcListener.Addr() }

// SecuresTLS says whether it is served over TLS.
func (s *Server) SecuresTLS() bool { return s.rpcConfig.SecuresTLS() }

// Close closes everything that New opened. It may be called twice, but not while Run
// runs.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Server) close() error {
	var errs []error
	if s.streams != nil {
		s.serving.Drain()
	}
	if s.rpc != nil {
		errs = append(errs, s.rpc.Close())
	}
	if s.rpcListener != nil {
		if err := s.rpcListener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	if s.ops != nil {
		errs = append(errs, s.ops.Close())
	}
	if s.history != nil {
		errs = append(errs, s.history.Close())
	}
	if s.replicas != nil {
		errs = append(errs, s.replicas.Close())
	}
	if s.archive != nil {
		errs = append(errs, s.archive.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}
