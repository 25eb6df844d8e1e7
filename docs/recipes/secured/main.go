// Command secured prints the rooms that a token may read of:
// secured HOST:PORT CA-FILE TOKEN-FILE.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: secured HOST:PORT CA-FILE TOKEN-FILE")
	}
	// Both files are read again for each call and each stream.
	client, err := promgrpc.New([]string{os.Args[1]}, promgrpc.Options{
		RenewTLS:      promgrpc.TLSFiles{CA: os.Args[2]}.Config,
		Authorization: promgrpc.TokenFile(os.Args[3]),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	rooms, err := client.GetLabelValues(context.Background(), &metricsv1.GetLabelValuesRequest{Name: "room"})
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(rooms.GetValues())
}
