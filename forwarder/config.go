package forwarder

import (
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/usage"
)

// Config of a forwarder.
type Config struct {
	daemon.OpsConfig
	discovery.ConsulConfig
	seglog.StorageConfig
	seglog.SegmentConfig
	LimitConfig
	PairsConfig
	// LinkAddress to listen on for receivers.
	LinkAddress string
	// LinkConfigFile is the web configuration file of that listener. "": cleartext.
	LinkConfigFile string
	// Server addresses, in the syntax of package discovery. "": none.
	Server string
	// ServerTLS for the links to the servers.
	ServerTLS renew.TLSFiles
	// AccessFile says which certificates receivers and servers have. "": none is asked
	// for.
	AccessFile string
	// Private secures the links of a process that has all parts, in place of these
	// files. Nil: by the files.
	Private *link.Private
	// SeriesIdle after which a series is dropped at the next new segment. 0:
	// never.
	SeriesIdle time.Duration
	// Tick is how long the log may stay as it is before an empty block says that its time
	// goes on. 0: none does.
	Tick time.Duration
	// AckServers is how many servers have to have a request on their disks before it is
	// answered. 0: none.
	AckServers int
	// AckTimeout is how long that may take.
	AckTimeout time.Duration
	// LinkConns that receivers may have open.
	LinkConns int
	// Instance is the name that receivers and servers log. "": the host name.
	Instance string
}

// DefaultConfig returns the defaults of all flags.
func DefaultConfig() Config {
	return Config{
		OpsConfig:     daemon.DefaultOpsConfig(),
		StorageConfig: seglog.DefaultStorageConfig("data/forwarder"),
		SegmentConfig: seglog.DefaultSegmentConfig(),
		LimitConfig:   DefaultLimitConfig(),
		PairsConfig:   DefaultPairsConfig(),
		LinkAddress:   ":8070",
		SeriesIdle:    time.Hour,
		Tick:          time.Second,
		AckTimeout:    5 * time.Second,
		LinkConns:     link.DefaultMaxConns,
	}
}

// flagServerTLS begins the flags of the links to servers.
const flagServerTLS = "--server.tls"

// RegisterFlags adds the flags, which default to what c holds.
func (c *Config) RegisterFlags(app *kingpin.Application) {
	c.OpsConfig.RegisterFlags(app)
	c.ConsulConfig.RegisterFlags(app)
	address.ListenVar(app.Flag("link.listen-address", "Address to listen on for receivers.").
		Default(c.LinkAddress), &c.LinkAddress)
	link.RegisterConfigFile(app, &c.LinkConfigFile)
	app.Flag("server", "Servers to send the log to: "+discovery.Syntax+".").
		Default(c.Server).StringVar(&c.Server)
	c.ServerTLS.RegisterFlags(app, "server.")
	access.RegisterFlag(app, &c.AccessFile)
	c.StorageConfig.RegisterFlags(app, "Folder of the log.")
	c.SegmentConfig.RegisterFlags(app)
	app.Flag("storage.series-idle", "Drop series that have not been written for this long when a new segment starts. 0 keeps them.").
		Default(c.SeriesIdle.String()).DurationVar(&c.SeriesIdle)
	app.Flag("ack.servers", "Answer a request once so many servers have forced it to their disks, besides this forwarder's. Servers are told apart by their --instance. 0 waits for none.").
		Default(strconv.Itoa(c.AckServers)).IntVar(&c.AckServers)
	app.Flag("ack.timeout", "Time for --ack.servers, after which the sender is told to repeat the request, which then waits for the same; keep it below the receivers' --forwarder.timeout.").
		Default(c.AckTimeout.String()).DurationVar(&c.AckTimeout)
	c.LimitConfig.RegisterFlags(app)
	c.PairsConfig.RegisterFlags(app)
	app.Flag("limit.link-connections", "Most connections of receivers at a time; at most a quarter of the files that the process may open.").
		Default(strconv.Itoa(c.LinkConns)).IntVar(&c.LinkConns)
	app.Flag(flagPeerShare[2:], "Most of each limit that one receiver may hold, in percent.").
		Default(strconv.Itoa(c.PeerShare)).IntVar(&c.PeerShare)
	app.Flag("instance", "Name of this forwarder in the logs of others, by default the host name.").
		Default(c.Instance).StringVar(&c.Instance)
}

// mostAckTimeout is when a receiver gives up, by default.
const mostAckTimeout = 25 * time.Second

func (c *Config) check() error {
	switch {
	case c.AckServers < 0:
		return usage.Errorf("--ack.servers cannot be negative")
	case c.AckServers > 0 && c.Server == "":
		return usage.Errorf("--ack.servers is %d, and there are no servers (--server)", c.AckServers)
	case c.AckTimeout <= 0, c.AckTimeout >= mostAckTimeout:
		return usage.Errorf("--ack.timeout is %s, it has to be above zero and below %s, when a receiver gives up", c.AckTimeout, mostAckTimeout)
	case c.LinkConns <= 0:
		return usage.Errorf("--limit.link-connections has to be above zero")
	case c.SeriesIdle < 0:
		return usage.Errorf("--storage.series-idle cannot be negative")
	}
	if err := c.PairsConfig.check(); err != nil {
		return err
	}
	return c.LimitConfig.check()
}
