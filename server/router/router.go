package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/groupsfile"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/listen"
	"github.com/promgrpc/exporter/internal/peer"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/internal/webconfig"
	"github.com/promgrpc/exporter/server/admission"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/outgoing"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/query"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/router/groups"
	"github.com/promgrpc/exporter/server/router/merge"
	"github.com/promgrpc/exporter/server/router/pushed"
	"github.com/promgrpc/exporter/server/router/remote"
	"github.com/promgrpc/exporter/server/rpc"
	"github.com/promgrpc/exporter/server/rule"
	"github.com/promgrpc/exporter/server/schedule"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/stored"
)

// Router is a running router.
type Router struct {
	config      Config
	logger      *slog.Logger
	log         *throttle.Logger // for what clients can cause
	groups      *groups.Groups
	time        *remote.Time
	admission   *admission.Admission // nil: everybody may do everything
	rpcConfig   *webconfig.Config    // of the RPC port; nil: none
	refusals    *refusal.Refusals
	evaluations *selection.Evaluations
	calls       *call.Calls
	conns       *limit.Budget // connections to the RPC port
	turns       *limit.Budget // of lookups
	callBytes   *limit.Budget // what requests and answers take
	queries     *query.Queries
	rules       *rule.Rules
	merged      *merge.Streams
	pushed      *pushed.Groups
	rpc         *rpc.Service
	listener    net.Listener
	ops         *daemon.Web
	registrar   *discovery.Registrar // nil: it is not registered
	started     time.Time
	draining    atomic.Bool
	known       atomic.Bool // all groups have answered, or were waited for

	closeOnce sync.Once
	closeErr  error
}

// New reads the files, and binds the listeners. If Run is not called, Close has to be.
func New(c Config, logger *slog.Logger, reg prometheus.Registerer) (_ *Router, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Instance = daemon.Instance(c.Instance)
	r := &Router{
		config: c, logger: logger, log: throttle.New(logger, 10*time.Second), refusals: refusal.New(),
		evaluations: c.Matching(), conns: c.Conns(), turns: c.Turns(), callBytes: c.CallRoom(), started: time.Now(),
	}
	defer func() {
		if err != nil {
			_ = r.Close()
		}
	}()
	if r.admission, err = admission.Open(c.AccessFile, c.Limits, logger); err != nil {
		return nil, err
	}
	if r.rpcConfig, err = webconfig.Open(flagRPCConfig, c.RPCConfigFile, logger); err != nil {
		return nil, err
	}
	r.rpcConfig.Register(reg)
	r.rpcConfig.LimitChecks(c.PasswordChecks, int(c.Share(int64(c.PasswordChecks))))
	if err = r.openGroups(); err != nil {
		return nil, err
	}
	r.openRooms()
	if r.listener, err = listen.TCP(flagListen, c.RPCAddress); err != nil {
		return nil, err
	}
	r.port().Log(logger)
	if r.ops, err = daemon.NewOps(c.OpsConfig, logger, reg, r.Ready); err != nil {
		return nil, err
	}
	if c.Consul != "" {
		if r.registrar, err = discovery.NewRegistrar(r.registration(), logger); err != nil {
			return nil, &usage.Error{Err: err}
		}
	}
	if reg != nil {
		if err := reg.Register(collector{r}); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return r, nil
}

// openGroups reads the groups file.
func (r *Router) openGroups() error {
	caller, err := outgoing.New(r.config.GroupFlags, r.admission.File(), r.logger)
	if err != nil {
		return err
	}
	file, err := groupsfile.Open(r.config.GroupsFile, groupsfile.Options{Check: groups.Check, Logger: r.logger})
	if err != nil {
		return &usage.Error{Err: err}
	}
	for _, g := range file.Now().Groups {
		if err := caller.MayCallAll(g.Servers); err != nil {
			return usage.Errorf("group %s: %w", g.Name, err)
		}
	}
	r.groups = groups.New(file, caller, r.logger)
	return nil
}

// silentAfter is for how long the time of a group stands still before its steps' callers are
// told: for longer than servers wait for a silent log unless they are told otherwise.
const silentAfter = 90 * time.Second

// openRooms makes what works on the groups.
func (r *Router) openRooms() {
	c := &r.config
	r.calls = c.Calls(call.Shared{Refusals: r.refusals, Admission: r.admission, Log: r.log, Bytes: c.StateRoom(), Begun: r.begun})
	r.merged = &merge.Streams{
		Calls: r.calls, Groups: forMerge{r.groups}, Placement: r.groups.Placement, Narrow: r.narrow,
		Timeout: c.Timeout, Staleness: c.Staleness, Metrics: merge.NewMetrics(),
	}
	source := &remote.Source{Groups: forRemote{r.groups}, Evaluations: r.evaluations, Timeout: c.Timeout}
	r.time = remote.NewTime(forRemote{r.groups}, silentAfter)
	clock := schedule.NewClock(r.time)
	r.pushed = pushed.New(pushed.Config{Groups: forRemote{r.groups}, Placement: r.groups.Placement})
	engine := promql.New(c.Engine, promql.Shared{
		Source: source, Evaluations: r.evaluations, Logger: r.logger, Groups: r.pushed,
		Bytes: c.Budget(promql.FlagBytes, "bytes", int64(c.Engine.Bytes)), Turns: c.Budget(promql.FlagQueries, "turns", int64(c.Engine.Queries)),
	})
	r.queries = query.New(query.Config{Lookback: c.Engine.Lookback, CursorWait: c.CursorWait}, query.Shared{Engine: engine, Clock: clock, Calls: r.calls})
	r.rules = rule.New(c.Rules, rule.Shared{Engine: engine, Clock: clock, Calls: r.calls, CursorWait: c.CursorWait})
	proxies, _ := peer.ParseProxies(c.TrustedProxies) // These were checked.
	r.rpc = rpc.New(c.RPC(), rpc.Shared{
		Backend: backend{
			r.merged, r.queries, r.rules,
			&stored.Calls{Engine: engine, Source: source, Clock: clock, CursorWait: c.CursorWait, Calls: r.calls}, lookups{r},
		},
		Calls: r.calls, Refusals: r.refusals, Engine: engine, Log: r.log, Web: r.rpcConfig, Admission: r.admission,
		Proxies: proxies, Conns: r.conns, Bytes: r.callBytes, Started: r.started, Ready: r.Ready, Listeners: r.listeners,
	})
}

// backend answers the calls out of the groups.
type backend struct {
	*merge.Streams
	*query.Queries
	*rule.Rules
	*stored.Calls
	lookups
}

// Run serves until ctx ends. Then it reports NOT_SERVING for the drain delay, in which it
// goes on serving, and ends the streams, each with the cursor to resume at.
func (r *Router) Run(ctx context.Context) error {
	var g daemon.Group
	g.Add("rpc", func(ctx context.Context) error {
		return r.rpc.Run(ctx, r.listener, rpc.Drain{
			Begin: func() {
				r.draining.Store(true)
				if r.registrar != nil {
					r.registrar.Withdraw()
				}
			},
			Delay: r.config.DelayOfDrain(), Timeout: r.config.DrainTimeout, Logger: r.logger,
		})
	})
	if r.registrar != nil {
		g.Add("consul", r.registrar.Run)
	}
	// Streams drain before the groups' servers are left.
	g.Add("groups", r.groups.Run)
	g.Add("time", func(ctx context.Context) error { r.time.Run(ctx); return nil })
	g.Add("readiness", r.rpc.WatchReadiness)
	g.Add("rights", r.calls.WatchRights)
	g.Add("web", r.ops.Run)
	err := g.Run(ctx)
	return errors.Join(err, r.Close())
}

// Close releases what New bound.
func (r *Router) Close() error {
	r.closeOnce.Do(func() {
		if r.calls != nil {
			r.calls.Drain()
		}
		if r.rpc != nil {
			r.closeErr = errors.Join(r.closeErr, r.rpc.Close())
		}
		if r.listener != nil {
			_ = r.listener.Close() // Serve has closed it, if it ran.
		}
		if r.ops != nil {
			r.closeErr = errors.Join(r.closeErr, r.ops.Close())
		}
	})
	return r.closeErr
}

// begun says why nothing is served yet: it is not known what all groups have. One that does
// not say it all is waited for, but not forever.
func (r *Router) begun() error {
	if r.known.Load() {
		return nil
	}
	pending := r.groups.Pending()
	if pending != "" && time.Since(r.started) < r.config.Timeout {
		return fmt.Errorf("it is not known yet which logs there are in group %s", pending)
	}
	r.known.Store(true)
	return nil
}

// errAllAway is of a router that can serve nothing.
var errAllAway = errors.New("no server of any group answers")

// Ready says why calls should not come here, nil if they should.
func (r *Router) Ready() error {
	if r.draining.Load() {
		return refusal.ErrDraining
	}
	if list, _ := r.groups.Now(); len(r.groups.Away()) == len(list) {
		return errAllAway
	}
	return r.calls.Serving()
}

// RPCAddr is where the calls are served.
func (r *Router) RPCAddr() net.Addr { return r.listener.Addr() }

// WebAddr is that of the operational HTTP server.
func (r *Router) WebAddr() net.Addr { return r.ops.Addr() }

func (r *Router) port() daemon.Listener {
	l := daemon.NewListener("rpc", r.listener.Addr(), r.rpcConfig, flagRPCConfig)
	l.Policies = r.admission.File().HasPolicies()
	return l
}

// listeners are all that the router has.
func (r *Router) listeners() []daemon.Listener {
	return []daemon.Listener{r.port(), r.ops.Listener()}
}

// registration is what balancers and clients find in Consul.
func (r *Router) registration() discovery.Registration {
	encrypted := r.rpcConfig.TLS()
	// The agent has no certificate to show.
	open := encrypted == nil || encrypted.ClientAuth != tls.RequireAnyClientCert && encrypted.ClientAuth != tls.RequireAndVerifyClientCert
	return discovery.Registration{
		ConsulConfig: r.config.ConsulConfig,
		Service:      discovery.ServiceRouter, Instance: r.config.Instance, Listener: r.listener.Addr(),
		Tags: []string{"grpc", "connect"},
		Meta: map[string]string{discovery.MetaWebPort: strconv.Itoa(discovery.Port(r.ops.Addr()))},
		GRPC: open, TLS: encrypted != nil,
		Ready: r.Ready,
	}
}

// Reloads is what the router reads from files that may be replaced while it runs.
func (r *Router) Reloads() []daemon.Reload {
	return slices.Concat(r.ops.Reloads(), r.groups.Reloads(), daemon.Reloads(
		daemon.Reload{What: access.Flag, Again: r.admission.File().Again()},
		daemon.Reload{What: flagRPCConfig, Again: r.rpcConfig.Again()},
		daemon.Reload{What: "files for --consul", Again: r.registrar.Reload()},
	))
}
