// Prometheus-grpc-client prints and follows the metrics of a MetricsService, and
// serves them again as a relay.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/promgrpc/exporter/clients/cli"
	"github.com/promgrpc/exporter/internal/daemon"
)

func main() {
	// A relay is a server, and behaves as one: with its flags, logs and signals.
	if len(os.Args) > 1 && os.Args[1] == "relay" {
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		program := daemon.Program{
			Name: "prometheus-grpc-client relay", Setup: relay, Args: os.Args[2:],
			Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals, Exit: os.Exit,
		}
		os.Exit(program.Run(context.Background()))
	}
	os.Exit(cli.Main())
}
