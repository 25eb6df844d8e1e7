package forwarder

import (
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	"github.com/promgrpc/exporter/forwarder/election"
	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/usage"
)

// LimitConfig bounds what senders can cause.
type LimitConfig struct {
	// MaxSeries that the log holds at a time. 0 is without bound.
	MaxSeries int
	// MaxFamilies whose metadata the log holds at a time, and MetadataBytes of all of it.
	MaxFamilies   int
	MetadataBytes units.Base2Bytes
	// MaxClusters of HA pairs that a tenant may have.
	MaxClusters int
	// Future is how far ahead of the clock a sample may be. 0 is without bound.
	Future time.Duration
	// Limits of a request.
	Limits remotewrite.Limits
	// RequestBytes is the largest body, compressed.
	RequestBytes units.Base2Bytes
	// InflightBytes bounds the requests that are under way: one half is for those
	// that are being read, one for those that are being decoded, appended and
	// answered. Receivers wait when they reach it.
	InflightBytes units.Base2Bytes
	// PeerShare is how many percent of that, and of the connections, one receiver
	// may have.
	PeerShare int
}

// DefaultLimitConfig returns limits far above what senders do by default. Ten
// minutes ahead is what Prometheus' own receiver allows.
func DefaultLimitConfig() LimitConfig {
	return LimitConfig{
		MaxSeries:     10_000_000,
		MaxFamilies:   100_000,
		MetadataBytes: 32 * units.MiB,
		MaxClusters:   100,
		Future:        10 * time.Minute,
		Limits:        remotewrite.DefaultLimits(),
		RequestBytes:  32 * units.MiB,
		InflightBytes: 256 * units.MiB,
		PeerShare:     50,
	}
}

// The flags of the limits that are named where they are met.
const (
	flagMaxSeries     = "--limit.live-series"
	flagFamilies      = "--limit.metadata-families"
	flagMetadataBytes = "--limit.metadata-bytes"
	flagFuture        = "--limit.future"
	flagRequestBytes  = "--limit.request-bytes"
	flagInflightBytes = "--limit.inflight-bytes"
	flagPeerShare     = "--limit.peer-share"
)

// RegisterFlags adds the flags --limit.*, which default to what c holds.
func (c *LimitConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag(flagRequestBytes[2:], "Largest body of a request, compressed.").
		Default(c.RequestBytes.String()).BytesVar(&c.RequestBytes)
	app.Flag(flagInflightBytes[2:], "Largest sum of the requests under way, one half for those that are being read and one for those that are being decoded, appended and answered; receivers wait when it is reached.").
		Default(c.InflightBytes.String()).BytesVar(&c.InflightBytes)
	app.Flag(flagMaxSeries[2:], "Most series at a time; new ones are refused when it is reached, until others have been dropped. 0 is without bound.").
		Default(strconv.Itoa(c.MaxSeries)).IntVar(&c.MaxSeries)
	app.Flag(flagFamilies[2:], "Most metric families with metadata at a time; that of new ones is refused when it is reached, until that of others has been dropped.").
		Default(strconv.Itoa(c.MaxFamilies)).IntVar(&c.MaxFamilies)
	app.Flag(flagMetadataBytes[2:], "Largest sum of the metadata of all metric families: names, help texts and units.").
		Default(c.MetadataBytes.String()).BytesVar(&c.MetadataBytes)
	app.Flag(election.FlagClusters[2:], "Most clusters of HA pairs that a tenant has; all tenants together have 100 times as many. The series of others are refused until one of them was not heard of for --storage.series-idle.").
		Default(strconv.Itoa(c.MaxClusters)).IntVar(&c.MaxClusters)
	app.Flag(flagFuture[2:], "Farthest that a sample may be ahead of the forwarder's clock; what is later is refused. 0 is without bound.").
		Default(c.Future.String()).DurationVar(&c.Future)
	c.Limits.Flags(func(name, help string, value *int) {
		app.Flag(name, help).Default(strconv.Itoa(*value)).IntVar(value)
	})
}

func (c *LimitConfig) check() error {
	switch {
	case c.RequestBytes <= 0, c.InflightBytes <= 0, c.MaxFamilies <= 0, c.MetadataBytes <= 0, c.MaxClusters <= 0:
		return usage.Errorf("the limits have to be above zero")
	case c.RequestBytes > link.DefaultMaxFrame-link.FrameRoom:
		return usage.Errorf("%s is %s, more than a link carries: below %s",
			flagRequestBytes, c.RequestBytes, units.Base2Bytes(link.DefaultMaxFrame))
	case int64(c.InflightBytes) < 2*max(c.largestFrame(), c.largestWork()):
		return usage.Errorf("%s is %s, less than twice a single request of %s, or of twice --limit.decoded-bytes", flagInflightBytes, c.InflightBytes, flagRequestBytes)
	case c.PeerShare < 1, c.PeerShare > 100:
		return usage.Errorf("%s is %d, it has to be from 1 to 100", flagPeerShare, c.PeerShare)
	case c.MaxSeries < 0, c.Future < 0:
		return usage.Errorf("%s and %s cannot be negative", flagMaxSeries, flagFuture)
	}
	if err := c.Limits.Check(); err != nil {
		return usage.Errorf("%w", err)
	}
	return nil
}
