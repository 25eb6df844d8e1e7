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
	// LinkAddress to take receivers at.
	LinkAddress string
	// LinkTLS of that listener.
	LinkTLS link.TLSFiles
	// Server addresses, in the syntax of package discovery. "": none.
	Server string
	// ServerTLS for the links to the servers.
	ServerTLS link.TLSFiles
	// StoragePath is the folder of the log.
	StoragePath string
	// Sync is always, interval or never.
	Sync string
	// RetentionTime and RetentionSize, 0 is without bound.
	RetentionTime time.Duration
	RetentionSize units.Base2Bytes
	// SegmentDuration and SegmentSize end a segment.
	SegmentDuration time.Duration
	SegmentSize     units.Base2Bytes
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
	log := seglog.DefaultOptions()
	return Config{
		OpsConfig:       daemon.OpsConfig{WebAddress: ":8080"},
		LinkAddress:     ":8070",
		StoragePath:     "data/forwarder",
		Sync:            log.Sync.String(),
		RetentionTime:   log.RetentionTime,
		RetentionSize:   units.Base2Bytes(log.RetentionSize),
		SegmentDuration: log.SegmentDuration,
		SegmentSize:     units.Base2Bytes(log.SegmentSize),
		SeriesIdle:      time.Hour,
		MaxSeries:       10_000_000,
		LinkConns:       link.DefaultMaxConns,
		Limits:          remotewrite.DefaultLimits(),
		RequestBytes:    32 * units.MiB,
		InflightBytes:   256 * units.MiB,
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
	app.Flag("storage.path", "Folder of the log.").
		Default(c.StoragePath).StringVar(&c.StoragePath)
	app.Flag("storage.sync", "When a block counts as durable: always (after an fsync), interval (when written, with an fsync once a second) or never (when written).").
		Default(c.Sync).EnumVar(&c.Sync, "always", "interval", "never")
	app.Flag("storage.retention.time", "Keep segments for this long. 0 keeps them for ever.").
		Default(c.RetentionTime.String()).DurationVar(&c.RetentionTime)
	app.Flag("storage.retention.size", "Keep at most this much. 0 is without bound.").
		Default(c.RetentionSize.String()).BytesVar(&c.RetentionSize)
	app.Flag("storage.segment.duration", "Begin a new segment after this long.").
		Default(c.SegmentDuration.String()).DurationVar(&c.SegmentDuration)
	app.Flag("storage.segment.size", "Begin a new segment when one has reached this size.").
		Default(c.SegmentSize.String()).BytesVar(&c.SegmentSize)
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
	case c.StoragePath == "":
		return daemon.Usagef("--storage.path is empty")
	case c.RetentionTime < 0, c.RetentionSize < 0, c.SegmentDuration <= 0, c.SegmentSize <= 0, c.SeriesIdle < 0, c.MaxSeries < 0:
		return daemon.Usagef("durations, sizes and numbers cannot be negative, and a segment has to end")
	}
	return nil
}
