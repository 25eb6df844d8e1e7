package main

import (
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/seglog"
)

// config of the whole, which is handed down to the parts.
type config struct {
	receiverAddress string
	rpcAddresses    []string
	storagePath     string
	sync            string
	retentionTime   time.Duration
	retentionSize   units.Base2Bytes
	segmentDuration time.Duration
	segmentSize     units.Base2Bytes
	selfInterval    time.Duration
}

func defaultConfig() config {
	log := seglog.DefaultOptions()
	return config{
		receiverAddress: ":8080",
		rpcAddresses:    []string{":8090", ":8091"},
		storagePath:     "data",
		sync:            log.Sync.String(),
		retentionTime:   log.RetentionTime,
		retentionSize:   units.Base2Bytes(log.RetentionSize),
		segmentDuration: log.SegmentDuration,
		segmentSize:     units.Base2Bytes(log.SegmentSize),
		selfInterval:    5 * time.Second,
	}
}

func (c *config) registerFlags(app *kingpin.Application) {
	app.Flag("receiver.listen-address", "Address to take remote write at; /metrics, /-/healthy and /-/ready are there too.").
		Default(c.receiverAddress).StringVar(&c.receiverAddress)
	rpcAddresses := c.rpcAddresses
	c.rpcAddresses = nil // a repeated flag appends
	app.Flag("rpc.listen-address", "Address to serve the API at. Repeat it for each replica.").
		Default(rpcAddresses...).StringsVar(&c.rpcAddresses)
	app.Flag("storage.path", "Folder under which the forwarder and each server get one of their own.").
		Default(c.storagePath).StringVar(&c.storagePath)
	app.Flag("storage.sync", "When a request is durable before it is answered: always, interval (once a second) or never.").
		Default(c.sync).EnumVar(&c.sync, "always", "interval", "never")
	app.Flag("storage.retention.time", "Keep segments for this long. 0 keeps them for ever.").
		Default(c.retentionTime.String()).DurationVar(&c.retentionTime)
	app.Flag("storage.retention.size", "Keep at most this much in each folder. 0 is without bound.").
		Default(c.retentionSize.String()).BytesVar(&c.retentionSize)
	app.Flag("storage.segment.duration", "Begin a new segment after this long.").
		Default(c.segmentDuration.String()).DurationVar(&c.segmentDuration)
	app.Flag("storage.segment.size", "Begin a new segment when one has reached this size.").
		Default(c.segmentSize.String()).BytesVar(&c.segmentSize)
	app.Flag("self.interval", "How often the exporter writes its own metrics to itself. 0 switches it off.").
		Default(c.selfInterval.String()).DurationVar(&c.selfInterval)
}

func (c *config) check() error {
	switch {
	case c.storagePath == "":
		return daemon.Usagef("--storage.path is empty")
	case c.selfInterval < 0:
		return daemon.Usagef("--self.interval cannot be negative")
	}
	return nil
}
