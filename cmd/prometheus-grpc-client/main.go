// Prometheus-grpc-client prints and follows the metrics of a MetricsService, and
// relays them.
package main

import (
	"os"

	"github.com/promgrpc/exporter/clients/cli"
	"github.com/promgrpc/exporter/internal/daemon"
)

func main() {
	// A relay and a router are servers, with the flags, logs and signals of one.
	if len(os.Args) > 1 && os.Args[1] == "relay" {
		daemon.Main("prometheus-grpc-client relay", os.Args[2:], relay)
	}
	if len(os.Args) > 1 && os.Args[1] == "router" {
		daemon.Main("prometheus-grpc-client router", os.Args[2:], route)
	}
	os.Exit(cli.Main())
}
