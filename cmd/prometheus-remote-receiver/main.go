// Command prometheus-remote-receiver takes in Prometheus remote write and hands
// it to a metrics-forwarder.
package main

import (
	"context"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/receiver"
)

func main() {
	daemon.Main("prometheus-remote-receiver", os.Args[1:], func(app *kingpin.Application) func(context.Context, *daemon.Env) error {
		app.Help = "Takes in Prometheus remote write 1.0 and 2.0 by HTTP and hands it to a metrics-forwarder."
		config := receiver.DefaultConfig()
		config.RegisterFlags(app)
		return func(ctx context.Context, env *daemon.Env) error {
			r, err := receiver.New(config, env.Logger, env.Registry)
			if err != nil {
				return err
			}
			defer r.Close()
			env.OnReload(r.Reloads()...)
			return r.Run(ctx)
		}
	})
}
