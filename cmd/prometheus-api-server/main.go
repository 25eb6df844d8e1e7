// Command prometheus-api-server keeps a copy of forwarders' logs and serves it
// over gRPC, gRPC-Web and Connect.
package main

import (
	"context"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/server"
)

func main() {
	daemon.Main("prometheus-api-server", os.Args[1:], func(app *kingpin.Application) func(context.Context, *daemon.Env) error {
		app.Help = "Keeps a copy of forwarders' logs and serves it over gRPC, gRPC-Web and Connect."
		config := server.DefaultConfig()
		config.RegisterFlags(app)
		return func(ctx context.Context, env *daemon.Env) error {
			s, err := server.New(config, env.Logger, env.Registry)
			if err != nil {
				return err
			}
			env.OnReload(s.Reloads()...)
			return s.Run(ctx)
		}
	})
}
