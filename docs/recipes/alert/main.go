// Command alert reports series that have been above a value for some time, and
// when they no longer are. It follows the stream until interrupted, at any of the
// replicas.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func main() {
	address := flag.String("address", "localhost:8090", "`HOST:PORT[,…]` of the replicas")
	above := flag.Float64("above", 0, "the `value` that is not to be exceeded")
	hold := flag.Duration("for", time.Minute, "how `long` it has to be exceeded")
	since := flag.Duration("since", 10*time.Minute, "how far back to begin, which rebuilds the state after a restart")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := promgrpc.New(strings.Split(*address, ","), promgrpc.Options{})
	if err != nil {
		log.Fatal(err)
	}
	r := newRule(*above, *hold)
	selection := promgrpc.Selection{Selectors: flag.Args(), Since: new(time.Now().Add(-*since)), Follow: true}
	for update, err := range client.Get(ctx, selection) {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		for _, series := range update.GetTimeseries() {
			watch(r, series)
		}
	}
}

// watch prints what the samples of a series change.
func watch(r *rule, series *metricsv1.TimeSeries) {
	var b labels.ScratchBuilder
	for _, l := range series.GetLabels() {
		b.Add(l.GetName(), l.GetValue())
	}
	name := b.Labels().String()
	for _, sample := range series.GetSamples() {
		at := time.UnixMilli(sample.GetTimestamp())
		if change := r.observe(name, at, sample.GetValue()); change != "" {
			fmt.Printf("%s %-8s %s %v\n", at.UTC().Format(time.RFC3339), change, name, sample.GetValue())
		}
	}
}
