package server

import (
	"runtime"
	"strconv"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/feed"
	"github.com/promgrpc/exporter/server/storeapi"
	"github.com/promgrpc/exporter/server/stream"
)

// Config of a server.
type Config struct {
	ServingConfig
	seglog.StorageConfig
	QueryConfig
	BucketConfig
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
	// Private secures the links of a process that has all parts, in place of these
	// files. Nil: by the files.
	Private *link.Private
	// LinkConns that forwarders may have open.
	LinkConns int
	// LinkBytes of logs that may be on their way from forwarders, until they are
	// appended.
	LinkBytes units.Base2Bytes
	// NewLogs that forwarders may begin at a time.
	NewLogs int
	// StoreLabels are those that Thanos' queriers get with every series, as
	// [storeapi.ParseExternal] has them.
	StoreLabels []string
	// Decodes is how many streams may decode at a time what is not in memory.
	Decodes int
}

// DefaultConfig returns the defaults of all flags.
func DefaultConfig() Config {
	return Config{
		ServingConfig: DefaultServingConfig(),
		StorageConfig: seglog.DefaultStorageConfig("data/server"),
		QueryConfig:   DefaultQueryConfig(),
		BucketConfig:  DefaultBucketConfig(),
		Config:        stream.DefaultConfig(),
		PeerFlags:     credential.Flags{Prefix: "peer."},
		LinkAddress:   ":8070",
		LinkConns:     link.DefaultMaxConns,
		LinkBytes:     128 * units.MiB,
		NewLogs:       16,
		Decodes:       max(4, 2*runtime.GOMAXPROCS(0)),
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
	c.registerReplica(app)
}

// RegisterRelayFlags adds the flags of a relay. Their defaults are what c holds.
func (c *Config) RegisterRelayFlags(app *kingpin.Application) {
	app.Flag("upstream", "Servers or relays to follow; the first that answers is used: "+discovery.Syntax+". With TLS they are reached through the proxy in HTTPS_PROXY, if there is one, as NO_PROXY allows; without TLS directly.").
		Required().PlaceHolder("PEERS").StringVar(&c.Upstream)
	c.UpstreamFlags.Register(app)
	c.registerReading(app, "Bucket of the servers, read for what is not on the disk any more: ")
	address.ListenVar(app.Flag(flagRelayAddress[2:], "Address of the gRPC, gRPC-Web and Connect server, and of the page.").
		Default(c.RPCAddress), &c.RPCAddress)
	c.registerReplica(app)
}

// registerReplica adds the flags of both.
func (c *Config) registerReplica(app *kingpin.Application) {
	c.StorageConfig.RegisterFlags(app, "Folder of the logs.")
	app.Flag("staleness", "Leave series out of the latest set that got no sample, whatever its timestamp, for this long.").
		Default(c.Staleness.String()).DurationVar(&c.Staleness)
	app.Flag(stream.FlagDecodes[2:], "Most streams that decode at a time what is no longer in memory; others wait for their turn. By default twice the number of processors, and 4 at least.").
		PlaceHolder("N").IntVar(&c.Decodes)
	c.QueryConfig.RegisterFlags(app)
	app.Flag("stream.cursor-wait", "Wait this long for the replica to reach the cursor of a stream.").
		Default(c.CursorWait.String()).DurationVar(&c.CursorWait)
	app.Flag(storeapi.FlagLabel[2:], "Label that Thanos' queriers get with every series, instead of one of its own of that name. Without one called replica, that is the name of this replica; replica= is none. Repeatable.").
		PlaceHolder("NAME=VALUE").StringsVar(&c.StoreLabels)
	c.RegisterServing(app)
}

func (c *Config) check() error {
	switch {
	case c.Staleness <= 0:
		return usage.Errorf("--staleness has to be above zero")
	case c.Decodes <= 0:
		return usage.Errorf("%s has to be above zero", stream.FlagDecodes)
	case c.CursorWait < 0:
		return usage.Errorf("--stream.cursor-wait cannot be negative")
	case c.LinkConns < 1:
		return usage.Errorf("--limit.link-connections has to be above zero")
	case c.NewLogs < 1:
		return usage.Errorf("%s has to be above zero", feed.FlagNewLogs)
	case c.LinkBytes < feed.MaxLinkFrame:
		return usage.Errorf("%s is %s, less than a single piece of a log: %s", feed.FlagLinkBytes, c.LinkBytes, units.Base2Bytes(feed.MaxLinkFrame))
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
	return c.CheckServing()
}
