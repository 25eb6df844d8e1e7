package forwarder

import (
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
)

// Config of a forwarder.
type Config struct {
	daemon.OpsConfig
	discovery.ConsulConfig
	seglog.StorageConfig
	seglog.SegmentConfig
	// LinkAddress to take receivers at.
	LinkAddress string
	// LinkTLS of that listener.
	LinkTLS link.TLSFiles
	// Server addresses, in the syntax of package discovery. "": none.
	Server string
	// ServerTLS for the links to the servers.
	ServerTLS link.TLSFiles
	// SeriesIdle after which a series is dropped at the next new segment. 0:
	// never.
	SeriesIdle time.Duration
	// MaxSeries that the log holds at a time. 0 is without bound.
	MaxSeries int
	// Limits of a request.
	Limits remotewrite.Limits
	// RequestBytes is the largest body, compressed.
	RequestBytes units.Base2Bytes
	// LinkConns that receivers may have open.
	LinkConns int
	// InflightBytes bounds the requests that are being decoded or appended,
	// compressed and decompressed. Receivers wait when they reach it.
	InflightBytes units.Base2Bytes
	// Instance is the name that receivers and servers log. "": the host name.
	Instance string
}

// DefaultConfig returns the defaults of all flags.
func DefaultConfig() Config {
	return Config{
		OpsConfig:     daemon.OpsConfig{WebAddress: ":8080"},
		StorageConfig: seglog.DefaultStorageConfig("data/forwarder"),
		SegmentConfig: seglog.DefaultSegmentConfig(),
		LinkAddress:   ":8070",
		SeriesIdle:    time.Hour,
		MaxSeries:     10_000_000,
		LinkConns:     link.DefaultMaxConns,
		Limits:        remotewrite.DefaultLimits(),
		RequestBytes:  32 * units.MiB,
		InflightBytes: 256 * units.MiB,
	}
}

// RegisterFlags adds the flags, which default to what c holds.
func (c *Config) RegisterFlags(app *kingpin.Application) {
	c.OpsConfig.RegisterFlags(app)
	c.ConsulConfig.RegisterFlags(app)
	app.Flag("link.listen-address", "Address to take receivers at.").
		Default(c.LinkAddress).StringVar(&c.LinkAddress)
	c.LinkTLS.RegisterFlags(app, "link.tls")
	app.Flag("server", "Servers to send the log to: "+discovery.Syntax+".").
		Default(c.Server).StringVar(&c.Server)
	c.ServerTLS.RegisterFlags(app, "server.tls")
	c.StorageConfig.RegisterFlags(app, "Folder of the log.")
	c.SegmentConfig.RegisterFlags(app)
	app.Flag("storage.series-idle", "Drop series that have not been written for this long when a new segment begins. 0 keeps them.").
		Default(c.SeriesIdle.String()).DurationVar(&c.SeriesIdle)
	app.Flag("limit.request-bytes", "Largest body of a request, compressed.").
		Default(c.RequestBytes.String()).BytesVar(&c.RequestBytes)
	app.Flag("limit.inflight-bytes", "Largest sum of the requests that are being decoded or appended; receivers wait when it is reached.").
		Default(c.InflightBytes.String()).BytesVar(&c.InflightBytes)
	app.Flag(flagMaxSeries[2:], "Most series at a time; new ones are refused when it is reached, until others have been dropped. 0 is without bound.").
		Default(strconv.Itoa(c.MaxSeries)).IntVar(&c.MaxSeries)
	app.Flag("limit.link-connections", "Most connections of receivers at a time.").
		Default(strconv.Itoa(c.LinkConns)).IntVar(&c.LinkConns)
	c.Limits.Flags(func(name, help string, value *int) {
		app.Flag(name, help).Default(strconv.Itoa(*value)).IntVar(value)
	})
	app.Flag("instance", "Name of this forwarder in the logs of others, by default the host name.").
		Default(c.Instance).StringVar(&c.Instance)
}

// flagMaxSeries sets the limit of series at a time, and is named where it is met.
const flagMaxSeries = "--limit.live-series"

// frameRoom is what a link frame needs besides the body.
const frameRoom = 64

func (c *Config) check() error {
	switch {
	case c.RequestBytes <= 0, c.InflightBytes <= 0, c.LinkConns <= 0:
		return daemon.Usagef("the limits have to be above zero")
	case c.RequestBytes > link.DefaultMaxFrame-frameRoom:
		return daemon.Usagef("--limit.request-bytes is %s, more than a link carries: below %s",
			c.RequestBytes, units.Base2Bytes(link.DefaultMaxFrame))
	case c.SeriesIdle < 0, c.MaxSeries < 0:
		return daemon.Usagef("--storage.series-idle and %s cannot be negative", flagMaxSeries)
	}
	return nil
}
