package promgrpc_test

import (
	"context"
	"fmt"
	"log"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
)

// Follow two replicas, whichever is alive, and keep the cursor with the data:
// started again with that cursor, the program goes on with the next sample.
func ExampleClient_Get() {
	one, other := exampleServer(), exampleServer()
	addresses := []string{one.Listen(), other.Listen()}
	defer one.Stop()
	defer other.Stop()

	client, err := promgrpc.New(addresses, promgrpc.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()

	cursor := "" // as stored by the last run
	query := promgrpc.Query{Selectors: []string{`n`}, Cursor: cursor, Follow: true}
	for update, err := range client.Get(context.Background(), query) {
		if err != nil {
			log.Fatal(err)
		}
		for _, series := range update.GetTimeseries() {
			fmt.Println(series.GetLabels()[0].GetValue(), series.GetSamples()[0].GetValue())
		}
		if update.GetCursor() != "" {
			cursor = update.GetCursor()
		}
	}
	fmt.Println("next time from", cursor)
	// Output:
	// n 1
	// n 2
	// n 3
	// next time from c3
}

// exampleServer breaks its first stream off after two responses.
func exampleServer() *metricstest.Server {
	return &metricstest.Server{Script: sequence(3, 2, func() error { metricstest.Abort(); return nil })}
}
