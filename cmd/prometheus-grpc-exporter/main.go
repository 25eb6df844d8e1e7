// Command prometheus-grpc-exporter runs all parts in one process: a receiver,
// a forwarder and as many servers as there are RPC addresses, two by default.
// It feeds itself its own metrics.
package main

import (
	"context"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/daemon"
)

func main() {
	daemon.Main("prometheus-grpc-exporter", os.Args[1:], func(app *kingpin.Application) func(context.Context, *daemon.Env) error {
		app.Help = "Takes in Prometheus remote write, and serves it as a typed stream over gRPC, gRPC-Web and Connect, from two replicas in one process."
		config := defaultConfig()
		config.registerFlags(app)
		return func(ctx context.Context, env *daemon.Env) error {
			e, err := newExporter(config, env)
			if err != nil {
				return err
			}
			env.OnReload(e.reloads()...)
			return e.run(ctx)
		}
	})
}
