package receiver

import (
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/usage"
)

// Config of a receiver.
type Config struct {
	daemon.OpsConfig
	TenantConfig
	// Forwarder addresses, in the syntax of package discovery.
	Forwarder string
	// GroupsFile says which groups there are, and which series each has, in place of
	// Forwarder. "": there are none.
	GroupsFile string
	// ForwarderTimeout for a verdict, after which the sender is asked to retry. It
	// should be shorter than the sender's own timeout, 30 s in Prometheus.
	ForwarderTimeout time.Duration
	// ForwarderTLS for the link.
	ForwarderTLS renew.TLSFiles
	// AccessFile says which certificates forwarders have, and who may write. "": none is
	// asked for, and whoever the listener lets in.
	AccessFile string
	// Private secures the link of a process that has all parts, in place of these
	// files. Nil: by the files.
	Private *link.Private
	// RequestBytes is the largest compressed body of a request.
	RequestBytes units.Base2Bytes
	// DecodedBytes is the largest body of a request after decompression.
	DecodedBytes units.Base2Bytes
	// InflightBytes bounds the compressed bodies of all requests under way.
	InflightBytes units.Base2Bytes
	// PeerShare is how many percent of that the requests of one address may hold.
	PeerShare int
	// BodyRate is the least rate of a body in bytes a second, after some seconds.
	BodyRate units.Base2Bytes
	// Instance is the name that forwarders log. "": the host name.
	Instance string
}

// DefaultConfig returns the defaults of all flags.
func DefaultConfig() Config {
	return Config{
		OpsConfig:        daemon.DefaultOpsConfig(),
		Forwarder:        "127.0.0.1:8070",
		ForwarderTimeout: 25 * time.Second,
		RequestBytes:     32 * units.MiB,
		DecodedBytes:     32 * units.MiB, // the forwarder's default too
		InflightBytes:    256 * units.MiB,
		PeerShare:        50,
		BodyRate:         16 * units.KiB,
	}
}

// The flags of the limits that are named where they are met.
const (
	flagRequestBytes  = "--limit.request-bytes"
	flagDecodedBytes  = "--limit.decoded-bytes"
	flagInflightBytes = "--limit.inflight-bytes"
	flagPeerShare     = "--limit.peer-share"
	flagBodyRate      = "--limit.body-rate"
)

// flagForwarderTLS begins the flags of the link.
const flagForwarderTLS = "--forwarder.tls"

// RegisterFlags adds the flags, which default to what c holds.
func (c *Config) RegisterFlags(app *kingpin.Application) {
	c.OpsConfig.RegisterFlags(app)
	c.TenantConfig.RegisterFlags(app)
	app.Flag("forwarder", "Forwarders to write to: "+discovery.Syntax+". Each sender's requests, by its tenant or policy and its address, go to one of them while that can be reached and stores them, and to another meanwhile.").
		Default(c.Forwarder).StringVar(&c.Forwarder)
	app.Flag(placement.Flag[2:], "YAML file with groups of forwarders over which series are spread, in place of --forwarder. It is read again when it has changed.").
		PlaceHolder("FILE").StringVar(&c.GroupsFile)
	app.Flag("forwarder.timeout", "Time for a forwarder to answer, after which the sender is told to retry; keep it below the sender's own timeout.").
		Default(c.ForwarderTimeout.String()).DurationVar(&c.ForwarderTimeout)
	c.ForwarderTLS.RegisterFlags(app, "forwarder.")
	access.RegisterFlag(app, &c.AccessFile)
	app.Flag(flagRequestBytes[2:], "Largest body of a request, compressed.").
		Default(c.RequestBytes.String()).BytesVar(&c.RequestBytes)
	app.Flag(flagDecodedBytes[2:], "Largest body of a request, decompressed.").
		Default(c.DecodedBytes.String()).BytesVar(&c.DecodedBytes)
	app.Flag(flagInflightBytes[2:], "Largest sum of the compressed bodies of all requests under way; senders over it are told to retry.").
		Default(c.InflightBytes.String()).BytesVar(&c.InflightBytes)
	app.Flag(flagPeerShare[2:], "Most of "+flagInflightBytes+" that the requests of one address may hold, in percent.").
		Default(strconv.Itoa(c.PeerShare)).IntVar(&c.PeerShare)
	app.Flag(flagBodyRate[2:], "Least rate of a body in bytes a second, after the first "+grace.String()+"; slower senders are told to retry.").
		Default(c.BodyRate.String()).BytesVar(&c.BodyRate)
	app.Flag("instance", "Name of this receiver in the logs of forwarders, by default the host name.").
		PlaceHolder("NAME").StringVar(&c.Instance)
}

// splitRoom is what it takes to take the largest body apart: it has to be decoded, and its
// parts may be as large. 0 without groups.
func (c *Config) splitRoom() int64 {
	if c.GroupsFile == "" {
		return 0
	}
	return 5 * int64(c.DecodedBytes) / 2
}

func (c *Config) check() error {
	switch {
	case c.RequestBytes <= 0, c.DecodedBytes <= 0, c.InflightBytes <= 0:
		return usage.Errorf("the limits have to be above zero")
	case c.RequestBytes > link.DefaultMaxFrame-link.FrameRoom:
		return usage.Errorf("%s is %s, more than the link to the forwarder carries: below %s",
			flagRequestBytes, c.RequestBytes, units.Base2Bytes(link.DefaultMaxFrame))
	case c.InflightBytes < c.RequestBytes:
		return usage.Errorf("%s is %s, less than a single request of %s %s",
			flagInflightBytes, c.InflightBytes, flagRequestBytes, c.RequestBytes)
	case c.GroupsFile != "" && c.Forwarder != DefaultConfig().Forwarder:
		return usage.Errorf("%s names the forwarders, so --forwarder has to be left out", placement.Flag)
	case c.GroupsFile != "" && int64(c.InflightBytes) < int64(c.RequestBytes)+c.splitRoom():
		return usage.Errorf("%s is %s; to take a request apart for groups takes %s with %s %s and %s %s", flagInflightBytes, c.InflightBytes,
			units.Base2Bytes(int64(c.RequestBytes)+c.splitRoom()), flagRequestBytes, c.RequestBytes, flagDecodedBytes, c.DecodedBytes)
	case c.PeerShare < 1, c.PeerShare > 100:
		return usage.Errorf("%s is %d, it has to be from 1 to 100", flagPeerShare, c.PeerShare)
	case c.BodyRate < 1:
		return usage.Errorf("%s has to be above zero", flagBodyRate)
	case c.ForwarderTimeout <= 0:
		return usage.Errorf("--forwarder.timeout has to be above zero")
	}
	return c.TenantConfig.check()
}
