// Exactlyonce appends every sample since its first start to a file, exactly once,
// however often it is killed: a line has samples and the cursor that covers them, so
// that the file has both or neither. It starts at the present rather than with the
// latest samples, which servers with several logs send without a cursor.
//
//	exactlyonce HOST:PORT[,HOST:PORT…] FILE
package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func main() {
	file := must(os.OpenFile(os.Args[2], os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600))
	data := must(io.ReadAll(file))
	data = data[:bytes.LastIndexByte(data, '\n')+1] // the rest is a line that the last run did not finish
	must(0, file.Truncate(int64(len(data))))
	client := must(promgrpc.New(strings.Split(os.Args[1], ","), promgrpc.Options{}))
	last := metricsv1.GetMetricsResponse{Cursor: must(client.GetStatus(context.Background())).GetCursor()}
	if lines := bytes.Split(data, []byte("\n")); len(lines) > 1 {
		must(0, protojson.Unmarshal(lines[len(lines)-2], &last))
	}
	for update, err := range client.Get(context.Background(), promgrpc.Selection{Follow: true, Cursor: last.GetCursor()}) {
		must(file.Write(append(must(protojson.Marshal(must(update, err))), '\n')))
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
