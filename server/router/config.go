package router

import (
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server"
)

// Config of a router.
type Config struct {
	server.ServingConfig
	server.QueryConfig
	// GroupsFile names the groups and their servers.
	GroupsFile string
	// GroupFlags say how these are called.
	GroupFlags credential.Flags
	// Timeout is how long a call waits for a group that is away, where it waits.
	Timeout time.Duration
	// Staleness of the servers: after it a series that got no sample is not live.
	Staleness time.Duration
	// CursorWait is how long a query waits for the groups to come to its cursor.
	CursorWait time.Duration
}

// DefaultConfig returns the defaults of all flags.
func DefaultConfig() Config {
	of := server.DefaultConfig()
	return Config{
		ServingConfig: server.DefaultServingConfig(), QueryConfig: server.DefaultQueryConfig(),
		GroupFlags: credential.Flags{Prefix: "group."}, Timeout: 10 * time.Second,
		Staleness: of.Staleness, CursorWait: of.CursorWait,
	}
}

const (
	flagListen    = "--listen"
	flagRPCConfig = "--rpc.config.file"
	flagTimeout   = "--group.timeout"
)

// RegisterFlags adds the flags. Their defaults are what c holds.
func (c *Config) RegisterFlags(app *kingpin.Application) {
	app.Flag(placement.Flag[2:], "File with the groups and their servers; it may be replaced while the router runs.").
		Required().PlaceHolder("FILE").StringVar(&c.GroupsFile)
	c.GroupFlags.Register(app)
	app.Flag(flagTimeout[2:], "Time that a call which can do nothing without it waits for a group of which no server answers, unless it says that it does not wait.").
		Default(c.Timeout.String()).DurationVar(&c.Timeout)
	c.ConsulConfig.RegisterFlags(app)
	address.ListenVar(app.Flag(flagListen[2:], "Address of the gRPC, gRPC-Web and Connect server, and of the page.").
		Default(c.RPCAddress), &c.RPCAddress)
	app.Flag("staleness", "What --staleness of the servers is: after an instant at which series moved, the latest samples of each are compared for twice as long.").
		Default(c.Staleness.String()).DurationVar(&c.Staleness)
	app.Flag("stream.cursor-wait", "Wait this long for the groups to reach the cursor of a query.").
		Default(c.CursorWait.String()).DurationVar(&c.CursorWait)
	c.RegisterEvaluating(app)
	c.RegisterServing(app)
}

func (c *Config) check() error {
	switch {
	case c.Timeout <= 0, c.Staleness <= 0:
		return usage.Errorf("%s and --staleness have to be above zero", flagTimeout)
	case c.CursorWait < 0:
		return usage.Errorf("--stream.cursor-wait cannot be negative")
	}
	if err := c.CheckEvaluating(); err != nil {
		return err
	}
	return c.CheckServing()
}
