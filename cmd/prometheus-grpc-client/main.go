// Prometheus-grpc-client prints and follows the metrics of a MetricsService, and
// serves them again as a relay.
package main

import (
	"os"

	"github.com/promgrpc/exporter/clients/cli"
	"github.com/promgrpc/exporter/internal/daemon"
)

func main() {
	// A relay is a server, and behaves as one: with its flags, logs and signals.
	if len(os.Args) > 1 && os.Args[1] == "relay" {
		daemon.Main("prometheus-grpc-client relay", os.Args[2:], relay)
	}
	os.Exit(cli.Main())
}
