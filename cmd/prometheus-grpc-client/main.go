// Prometheus-grpc-client prints and follows the metrics of a MetricsService.
package main

import (
	"os"

	"github.com/promgrpc/exporter/clients/cli"
)

func main() { os.Exit(cli.Main()) }
