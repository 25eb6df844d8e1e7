package main

import (
	"fmt"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/forwarder"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/listen"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/receiver"
	"github.com/promgrpc/exporter/server"
)

// Flags of the addresses.
const (
	flagReceiverAddress = "--receiver.listen-address"
	flagRPCAddress      = "--rpc.listen-address"
)

// config of the whole, which is handed down to the parts.
type config struct {
	// StoragePath is the folder over those of the parts.
	seglog.StorageConfig
	seglog.SegmentConfig
	forwarder.LimitConfig
	forwarder.PairsConfig
	receiver.TenantConfig
	serving server.LimitConfig // of each server
	files
	receiverAddress string
	rpcAddresses    []string
	doors           server.DoorsConfig // of each server
	webHosts        []string
	selfInterval    time.Duration
}

// files say who may call.
type files struct {
	web, rpc, access string
	// private secures the links between the parts.
	private *link.Private
}

func defaultConfig() config {
	return config{
		StorageConfig:   seglog.DefaultStorageConfig("data"),
		SegmentConfig:   seglog.DefaultSegmentConfig(),
		LimitConfig:     forwarder.DefaultLimitConfig(),
		PairsConfig:     forwarder.DefaultPairsConfig(),
		serving:         server.DefaultLimitConfig(),
		receiverAddress: "127.0.0.1:8080",
		rpcAddresses:    []string{"127.0.0.1:8090", "127.0.0.1:8091"},
		selfInterval:    5 * time.Second,
	}
}

func (c *config) registerFlags(app *kingpin.Application) {
	address.ListenVar(app.Flag(flagReceiverAddress[2:], "Address to take remote write at; /metrics, /-/healthy and /-/ready are there too.").
		Default(c.receiverAddress), &c.receiverAddress)
	rpcAddresses := c.rpcAddresses
	c.rpcAddresses = nil // a repeated flag appends
	address.ListensVar(app.Flag(flagRPCAddress[2:], "Addresses to serve the API at, one for each replica. Repeatable, or with commas.").
		Default(rpcAddresses...), &c.rpcAddresses)
	daemon.WebConfigFlag(app, &c.web)
	server.RPCConfigFlag(app, &c.rpc)
	access.RegisterFlag(app, &c.access)
	daemon.HostFlag(app, &c.webHosts)
	c.doors.RegisterFlags(app)
	c.StorageConfig.RegisterFlags(app, "Folder under which the forwarder and each server get one of their own.")
	c.SegmentConfig.RegisterFlags(app)
	c.LimitConfig.RegisterFlags(app)
	c.PairsConfig.RegisterFlags(app)
	c.TenantConfig.RegisterFlags(app)
	c.serving.RegisterFlags(app)
	app.Flag("self.interval", "How often the exporter writes its own metrics to itself. 0 switches it off.").
		Default(c.selfInterval.String()).DurationVar(&c.selfInterval)
}

// free says which addresses cannot be bound, all of them at once, and why.
func (c *config) free() error {
	err := listen.Check(flagReceiverAddress, c.receiverAddress)
	for _, address := range c.rpcAddresses {
		switch next := listen.Check(flagRPCAddress, address); {
		case err == nil:
			err = next
		case next != nil:
			err = fmt.Errorf("%w; %w", err, next)
		}
	}
	return err
}

func (c *config) check() error {
	switch {
	case c.StoragePath == "":
		return usage.Errorf("--storage.path is empty")
	case c.selfInterval < 0:
		return usage.Errorf("--self.interval cannot be negative")
	}
	return nil
}
