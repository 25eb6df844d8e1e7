package main

import (
	"context"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/server"
)

// relay runs a server that is fed by another one through its public API.
func relay(app *kingpin.Application) func(context.Context, *daemon.Env) error {
	app.Help = `Follows a server, or another relay, and serves the same MetricsService to many local readers, with the page at /, from its own copy of the logs. Cursors are valid at servers and relays alike, so that readers can move between them.

The copy is on disk: without --storage.path in a temporary folder, which is removed at the end.`
	config := server.DefaultConfig()
	config.RPCAddress, config.WebAddress, config.StoragePath = ":8095", "127.0.0.1:0", ""
	config.RegisterRelayFlags(app)
	return func(ctx context.Context, env *daemon.Env) error {
		if config.StoragePath == "" {
			var err error
			if config.StoragePath, err = os.MkdirTemp("", "prometheus-grpc-relay-"); err != nil {
				return err
			}
			defer func() { _ = os.RemoveAll(config.StoragePath) }()
		}
		s, err := server.New(config, env.Logger, env.Registry)
		if err != nil {
			return err
		}
		env.OnReload(s.Reloads()...)
		return s.Run(ctx)
	}
}
