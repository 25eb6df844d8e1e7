// Command metrics-forwarder takes remote-write requests from receivers, keeps
// them in its log, and sends the log to the servers.
package main

import (
	"context"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/forwarder"
	"github.com/promgrpc/exporter/internal/daemon"
)

func main() {
	daemon.Main("metrics-forwarder", os.Args[1:], func(app *kingpin.Application) func(context.Context, *daemon.Env) error {
		app.Help = "Takes remote-write requests from receivers, decodes each once, keeps them in a log, and sends the log to the servers."
		config := forwarder.DefaultConfig()
		config.RegisterFlags(app)
		return func(ctx context.Context, env *daemon.Env) error {
			f, err := forwarder.New(config, env.Logger, env.Registry)
			if err != nil {
				return err
			}
			env.OnReload(f.Reloads()...)
			return f.Run(ctx)
		}
	})
}
