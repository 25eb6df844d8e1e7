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
		LinkAddress:   ":8070",
		SeriesIdle:    time.Hour,
		Tick:          time.Second,
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
	c.LimitConfig.RegisterFlags(app)
	app.Flag("limit.link-connections", "Most connections of receivers at a time; at most a quarter of the files that the process may open.").
		Default(strconv.Itoa(c.LinkConns)).IntVar(&c.LinkConns)
	app.Flag(flagPeerShare[2:], "Most of each limit that one receiver may hold, in percent.").
		Default(strconv.Itoa(c.PeerShare)).IntVar(&c.PeerShare)
	app.Flag("instance", "Name of this forwarder in the logs of others, by default the host name.").
		Default(c.Instance).StringVar(&c.Instance)
}

func (c *Config) check() error {
	switch {
	case c.LinkConns <= 0:
		return usage.Errorf("--limit.link-connections has to be above zero")
	case c.SeriesIdle < 0:
		return usage.Errorf("--storage.series-idle cannot be negative")
	}
	return c.LimitConfig.check()
}
