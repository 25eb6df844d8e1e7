package server

import (
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/feed"
	"github.com/promgrpc/exporter/server/storeapi"
	"github.com/promgrpc/exporter/server/stream"
)

// Config of a server.
type Config struct {
	daemon.OpsConfig
	discovery.ConsulConfig
	seglog.StorageConfig
	LimitConfig
	QueryConfig
	BucketConfig
	DoorsConfig
	call.Bounds
	stream.Config
	// Upstream makes this server a relay, which takes no forwarders. It is the servers or
	// relays that the logs come from, in [discovery.Syntax].
	Upstream string
	// UpstreamFlags say how they are called.
	UpstreamFlags credential.Flags
	// Peers are other servers, in [discovery.Syntax], which complete the logs here that no
	// forwarder feeds. "": none. A relay has none.
	Peers string
	// PeerFlags say how they are called.
	PeerFlags credential.Flags
	// LinkAddress to take forwarders at.
	LinkAddress string
	// LinkConfigFile is the web configuration file of that listener. "": cleartext.
	LinkConfigFile string
	// AccessFile says which certificates the other parts have, and who may read what.
	// "": none is asked for, and everybody may read everything.
	AccessFile string
	// Private secures the links of a process that has all parts, in place of these
	// files. Nil: by the files.
	Private *link.Private
	// RPCAddress to serve the MetricsService at.
	RPCAddress string
	// RPCConfigFile is the web configuration file of that listener.
	RPCConfigFile string
	// LinkConns that forwarders may have open.
	LinkConns int
	// LinkBytes of logs that may be on their way from forwarders, until they are
	// appended.
	LinkBytes units.Base2Bytes
	// NewLogs that forwarders may begin at a time.
	NewLogs int
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
	// StoreLabels are those that Thanos' queriers get with every series, as
	// [storeapi.ParseExternal] has them.
	StoreLabels []string
}

// DefaultConfig returns the defaults of all flags.
func DefaultConfig() Config {
	return Config{
		OpsConfig:      daemon.DefaultOpsConfig(),
		StorageConfig:  seglog.DefaultStorageConfig("data/server"),
		LimitConfig:    DefaultLimitConfig(),
		QueryConfig:    DefaultQueryConfig(),
		BucketConfig:   DefaultBucketConfig(),
		Bounds:         call.DefaultBounds(),
		Config:         stream.DefaultConfig(),
		PeerFlags:      credential.Flags{Prefix: "peer."},
		LinkAddress:    ":8070",
		RPCAddress:     ":8090",
		LinkConns:      link.DefaultMaxConns,
		LinkBytes:      128 * units.MiB,
		NewLogs:        16,
		RequestTimeout: 10 * time.Second,
		DrainDelay:     -1,
		DrainTimeout:   10 * time.Second,
	}
}

// Flags of the RPC port; the address is another one in a relay.
const (
	flagRPCAddress   = "--rpc.listen-address"
	flagRelayAddress = "--listen"
	flagRPCConfig    = "--rpc.config.file"
)

// rpcFlag is the flag that gave the RPC address.
func (c *Config) rpcFlag() string {
	if c.Upstream != "" {
		return flagRelayAddress
	}
	return flagRPCAddress
}

// RegisterFlags adds the flags of a server that forwarders feed. Their defaults are what
// c holds.
func (c *Config) RegisterFlags(app *kingpin.Application) {
	c.ConsulConfig.RegisterFlags(app)
	address.ListenVar(app.Flag("link.listen-address", "Address to take forwarders at.").
		Default(c.LinkAddress), &c.LinkAddress)
	link.RegisterConfigFile(app, &c.LinkConfigFile)
	address.ListenVar(app.Flag(flagRPCAddress[2:], "Address of the gRPC, gRPC-Web and Connect server.").
		Default(c.RPCAddress), &c.RPCAddress)
	app.Flag("limit.link-connections", "Most connections of forwarders at a time; at most a quarter of the files that the process may open.").
		Default(strconv.Itoa(c.LinkConns)).IntVar(&c.LinkConns)
	app.Flag(feed.FlagLinkBytes[2:], "Most bytes of the pieces of logs that are being received and appended; forwarders wait when it is reached.").
		Default(c.LinkBytes.String()).BytesVar(&c.LinkBytes)
	app.Flag(feed.FlagNewLogs[2:], "Most logs that forwarders begin at a time: from the first bytes of one until all its series have come. Further ones are told to come again.").
		Default(strconv.Itoa(c.NewLogs)).IntVar(&c.NewLogs)
	c.BucketConfig.RegisterFlags(app)
	app.Flag(feed.FlagPeers[2:], "RPC ports of the other servers, this one may be among them: "+discovery.Syntax+". What they have of logs that no forwarder feeds any more is fetched, so that each log has one end at all servers.").
		Default(c.Peers).PlaceHolder("PEERS").StringVar(&c.Peers)
	c.PeerFlags.Register(app)
	c.registerServing(app)
}

// RegisterRelayFlags adds the flags of a relay. Their defaults are what c holds.
func (c *Config) RegisterRelayFlags(app *kingpin.Application) {
	app.Flag("upstream", "Servers or relays to follow; the first that answers is used: "+discovery.Syntax+". With TLS they are reached through the proxy in HTTPS_PROXY, if there is one, as NO_PROXY allows; without TLS directly.").
		Required().PlaceHolder("PEERS").StringVar(&c.Upstream)
	c.UpstreamFlags.Register(app)
	c.registerReading(app, "Bucket of the servers, read for what is not on the disk any more: ")
	address.ListenVar(app.Flag(flagRelayAddress[2:], "Address of the gRPC, gRPC-Web and Connect server, and of the page.").
		Default(c.RPCAddress), &c.RPCAddress)
	c.registerServing(app)
}

// registerServing adds the flags of both.
func (c *Config) registerServing(app *kingpin.Application) {
	c.OpsConfig.RegisterFlags(app)
	access.RegisterFlag(app, &c.AccessFile)
	c.DoorsConfig.RegisterFlags(app)
	RPCConfigFlag(app, &c.RPCConfigFile)
	c.StorageConfig.RegisterFlags(app, "Folder of the logs.")
	app.Flag("staleness", "Leave series out of the latest set that got no sample, whatever its timestamp, for this long.").
		Default(c.Staleness.String()).DurationVar(&c.Staleness)
	c.LimitConfig.RegisterFlags(app)
	c.QueryConfig.RegisterFlags(app)
	app.Flag("rpc.request-timeout", "Time for a whole request to arrive.").
		Default(c.RequestTimeout.String()).DurationVar(&c.RequestTimeout)
	app.Flag("stream.stall-timeout", "Cut off a client that takes nothing for this long.").
		Default(c.StallTimeout.String()).DurationVar(&c.StallTimeout)
	app.Flag("stream.min-rate", "Bytes a second that a client has to take while there is something to send: time in which writes to it are blocked counts towards --stream.stall-timeout, and every so many bytes that it takes subtract a second.").
		Default(c.MinRate.String()).BytesVar(&c.MinRate)
	app.Flag("stream.cursor-wait", "Wait this long for the replica to reach the cursor of a stream.").
		Default(c.CursorWait.String()).DurationVar(&c.CursorWait)
	app.Flag("stream.max-age", "End a stream that has followed for this long, or up to a fifth less, with the cursor to resume at, so that followers spread over the replicas again. 0 is never. By default "+registeredMaxAge.String()+" with --consul, and never without.").
		PlaceHolder("DURATION").DurationVar(&c.MaxAge)
	app.Flag("drain.delay", "Report NOT_SERVING for this long, and go on serving, before streams are ended. By default "+registeredDrainDelay.String()+" with --consul, and none without.").
		PlaceHolder("DURATION").DurationVar(&c.DrainDelay)
	app.Flag("drain.timeout", "Time that calls under way have to end.").
		Default(c.DrainTimeout.String()).DurationVar(&c.DrainTimeout)
	app.Flag("instance", "Name of this replica, by default the host name.").
		Default(c.Instance).StringVar(&c.Instance)
	app.Flag(storeapi.FlagLabel[2:], "Label that Thanos' queriers get with every series, instead of one of its own of that name. Without one called replica, that is the name of this replica; replica= is none. Repeatable.").
		PlaceHolder("NAME=VALUE").StringsVar(&c.StoreLabels)
}

// RPCConfigFlag adds --rpc.config.file alone.
func RPCConfigFlag(app *kingpin.Application, file *string) {
	app.Flag(flagRPCConfig[2:], "File with TLS and basic auth for the RPC port with its page, as --web.config.file has them for the HTTP server. The health service needs no password.").
		PlaceHolder("FILE").StringVar(file)
}

// registeredDrainDelay is twice what a balancer that checks every second needs to
// notice that a server stopped serving.
const registeredDrainDelay = 2 * time.Second

func (c *Config) drainDelay() time.Duration {
	return c.orRegistered(c.DrainDelay, registeredDrainDelay)
}

// orRegistered returns what was set or, if that is below zero, a default that holds for
// a server that is registered in Consul. Any other has none.
func (c *Config) orRegistered(set, registered time.Duration) time.Duration {
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

func (c *Config) maxAge() time.Duration { return c.orRegistered(c.MaxAge, registeredMaxAge) }

func (c *Config) check() error {
	switch {
	case c.Staleness <= 0, c.StallTimeout <= 0, c.DrainTimeout <= 0:
		return usage.Errorf("--staleness, --stream.stall-timeout and --drain.timeout have to be above zero")
	case c.MinRate <= 0:
		return usage.Errorf("--stream.min-rate has to be above zero")
	case c.RequestTimeout <= 0:
		return usage.Errorf("--rpc.request-timeout has to be above zero")
	case c.MaxAge > 0 && c.MaxAge < leastMaxAge:
		return usage.Errorf("--stream.max-age has to be %s or more, or 0 for never", leastMaxAge)
	case c.CursorWait < 0:
		return usage.Errorf("--stream.cursor-wait cannot be negative")
	case c.LinkConns < 1:
		return usage.Errorf("--limit.link-connections has to be above zero")
	case c.NewLogs < 1:
		return usage.Errorf("%s has to be above zero", feed.FlagNewLogs)
	case c.LinkBytes < feed.MaxLinkFrame:
		return usage.Errorf("%s is %s, less than a single piece of a log: %s", feed.FlagLinkBytes, c.LinkBytes, units.Base2Bytes(feed.MaxLinkFrame))
	}
	if _, _, err := c.doors(); err != nil {
		return &usage.Error{Err: err}
	}
	if _, err := storeapi.ParseExternal(c.StoreLabels, c.Instance); err != nil {
		return usage.Errorf("%s: %w", storeapi.FlagLabel, err)
	}
	if err := c.QueryConfig.check(); err != nil {
		return err
	}
	if err := c.BucketConfig.check(c.StorageConfig); err != nil {
		return err
	}
	return c.LimitConfig.check()
}
