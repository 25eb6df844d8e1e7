package server

import (
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/rpc"
	"github.com/promgrpc/exporter/server/selection"
)

// ServingConfig is what servers and routers have in common: the RPC port, who may call it,
// its limits, and its end.
type ServingConfig struct {
	daemon.OpsConfig
	discovery.ConsulConfig
	LimitConfig
	DoorsConfig
	call.Bounds
	// AccessFile says which certificates the other parts have, and who may read what.
	// "": none is asked for, and everybody may read everything.
	AccessFile string
	// RPCAddress to serve the MetricsService at.
	RPCAddress string
	// RPCConfigFile is the web configuration file of that listener.
	RPCConfigFile string
	// RequestTimeout for a request to arrive, whatever it is for.
	RequestTimeout time.Duration
	// DrainDelay between reporting NOT_SERVING and ending the streams. Below zero: long
	// enough for a balancer to notice if this server is registered in Consul, and none
	// otherwise.
	DrainDelay time.Duration
	// DrainTimeout that calls have to end after that.
	DrainTimeout time.Duration
	// Instance is the name of this replica. "": the host name.
	Instance string
}

// DefaultServingConfig returns the defaults of the flags.
func DefaultServingConfig() ServingConfig {
	return ServingConfig{
		OpsConfig:      daemon.DefaultOpsConfig(),
		LimitConfig:    DefaultLimitConfig(),
		Bounds:         call.DefaultBounds(),
		RPCAddress:     ":8090",
		RequestTimeout: 10 * time.Second,
		DrainDelay:     -1,
		DrainTimeout:   10 * time.Second,
	}
}

// RegisterServing adds the flags, but for those of Consul and of the address, which not all
// have. Their defaults are what c holds.
func (c *ServingConfig) RegisterServing(app *kingpin.Application) {
	c.OpsConfig.RegisterFlags(app)
	access.RegisterFlag(app, &c.AccessFile)
	c.DoorsConfig.RegisterFlags(app)
	RPCConfigFlag(app, &c.RPCConfigFile)
	c.LimitConfig.RegisterFlags(app)
	app.Flag("rpc.request-timeout", "Time for a whole request to arrive.").
		Default(c.RequestTimeout.String()).DurationVar(&c.RequestTimeout)
	app.Flag("stream.stall-timeout", "Cut off a client that takes nothing for this long.").
		Default(c.StallTimeout.String()).DurationVar(&c.StallTimeout)
	app.Flag("stream.min-rate", "Bytes a second that a client has to take while there is something to send: time in which writes to it are blocked counts towards --stream.stall-timeout, and every so many bytes that it takes subtract a second.").
		Default(c.MinRate.String()).BytesVar(&c.MinRate)
	app.Flag("stream.max-age", "End a stream that has followed for this long, or up to a fifth less, with the cursor to resume at, so that followers spread over the replicas again. 0 is never. By default "+registeredMaxAge.String()+" with --consul, and never without.").
		PlaceHolder("DURATION").DurationVar(&c.MaxAge)
	app.Flag("drain.delay", "Report NOT_SERVING for this long, and go on serving, before streams are ended. By default "+registeredDrainDelay.String()+" with --consul, and none without.").
		PlaceHolder("DURATION").DurationVar(&c.DrainDelay)
	app.Flag("drain.timeout", "Time that calls under way have to end.").
		Default(c.DrainTimeout.String()).DurationVar(&c.DrainTimeout)
	app.Flag("instance", "Name of this replica, by default the host name.").
		Default(c.Instance).StringVar(&c.Instance)
}

// RPCConfigFlag adds --rpc.config.file alone.
func RPCConfigFlag(app *kingpin.Application, file *string) {
	app.Flag(flagRPCConfig[2:], "File with TLS and basic auth for the RPC port with its page, as --web.config.file has them for the HTTP server. The health service needs no password.").
		PlaceHolder("FILE").StringVar(file)
}

// registeredDrainDelay is twice what a balancer that checks every second needs to
// notice that a server stopped serving.
const registeredDrainDelay = 2 * time.Second

// DelayOfDrain is how long a server goes on serving that is shutting down.
func (c *ServingConfig) DelayOfDrain() time.Duration {
	return c.orRegistered(c.DrainDelay, registeredDrainDelay)
}

// orRegistered returns what was set or, if that is below zero, a default that holds for
// a server that is registered in Consul. Any other has none.
func (c *ServingConfig) orRegistered(set, registered time.Duration) time.Duration {
	switch {
	case set >= 0:
		return set
	case c.Consul != "":
		return registered
	}
	return 0
}

const (
	// registeredMaxAge is how long followers may be spread unevenly after a server came
	// or went. A move costs a stream its labels once more.
	registeredMaxAge = 30 * time.Minute
	// leastMaxAge keeps streams from doing little else than move.
	leastMaxAge = time.Second
)

// LongestAge is what MaxAge comes to.
func (c *ServingConfig) LongestAge() time.Duration { return c.orRegistered(c.MaxAge, registeredMaxAge) }

// CheckServing says what is wrong with it.
func (c *ServingConfig) CheckServing() error {
	switch {
	case c.StallTimeout <= 0, c.DrainTimeout <= 0:
		return usage.Errorf("--stream.stall-timeout and --drain.timeout have to be above zero")
	case c.MinRate <= 0:
		return usage.Errorf("--stream.min-rate has to be above zero")
	case c.RequestTimeout <= 0:
		return usage.Errorf("--rpc.request-timeout has to be above zero")
	case c.MaxAge > 0 && c.MaxAge < leastMaxAge:
		return usage.Errorf("--stream.max-age has to be %s or more, or 0 for never", leastMaxAge)
	}
	if _, _, err := c.doors(); err != nil {
		return &usage.Error{Err: err}
	}
	return c.check()
}

// RPC is the configuration of the RPC port. It has to be right.
func (c *ServingConfig) RPC() rpc.Config {
	origins, hosts, _ := c.doors()
	return rpc.Config{
		Instance: c.Instance, Origins: origins, Hosts: hosts, RequestTimeout: c.RequestTimeout, StallTimeout: c.StallTimeout, MinRate: int64(c.MinRate),
		RequestBytes: int64(c.RequestBytes), ConnStreams: c.ConnStreams, CallRate: c.CallRate,
	}
}

// Calls returns those of a server, none so far. The state of streams takes of bytes.
func (c *ServingConfig) Calls(from call.Shared) *call.Calls {
	bounds := c.Bounds
	bounds.MaxAge = c.LongestAge()
	from.Open = c.Budget(flagStreams, "streams", int64(c.Streams))
	from.Watches = c.Budget(flagWatches, "watches", int64(c.Watches))
	return call.New(bounds, from)
}

// Conns returns the budget of connections to the RPC port.
func (c *ServingConfig) Conns() *limit.Budget {
	return c.Budget(flagRPCConns, "connections", int64(limit.Connections(c.RPCConns)))
}

// CallRoom returns the budget of what requests and answers take.
func (c *ServingConfig) CallRoom() *limit.Budget {
	return limit.NewBudget(flagCallBytes, "bytes", int64(c.CallBytes), max(c.Share(int64(c.CallBytes)), rpc.LeastCall(int64(c.RequestBytes))))
}

// Turns returns the budget of the calls that read what a server has.
func (c *ServingConfig) Turns() *limit.Budget {
	return c.Budget(flagLookups, "turns", int64(c.Lookups))
}

// StateRoom returns the budget of what the state of streams takes.
func (c *ServingConfig) StateRoom() *limit.Budget {
	return c.Budget(flagStreamBytes, "bytes", int64(c.StreamBytes))
}

// Matching returns what bounds the evaluation of selectors.
func (c *ServingConfig) Matching() *selection.Evaluations {
	return selection.NewEvaluations(c.Limits, c.Budget(selection.FlagEvaluationBytes, "bytes", int64(c.EvaluationBytes)))
}
