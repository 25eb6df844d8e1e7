package main

import (
	"context"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/server/router"
)

// route runs a router.
func route(app *kingpin.Application) func(context.Context, *daemon.Env) error {
	app.Help = `Answers every call for several groups of servers, each of which has a share of the series, so that clients see one service. Cursors are valid at all routers of the same groups.

It keeps nothing on a disk. A group of which no server answers is waited for, or the call refused, as its caller has chosen.`
	config := router.DefaultConfig()
	config.RPCAddress, config.WebAddress = ":8096", "127.0.0.1:0"
	config.RegisterFlags(app)
	return func(ctx context.Context, env *daemon.Env) error {
		r, err := router.New(config, env.Logger, env.Registry)
		if err != nil {
			return err
		}
		env.OnReload(r.Reloads()...)
		return r.Run(ctx)
	}
}
