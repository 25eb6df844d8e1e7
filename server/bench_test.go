package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
)

// manySeries is the size that the targets are stated for.
const manySeries = 1_000_000

// million returns a source of series with ten labels each.
func million(b *testing.B) *source {
	src := newSource(b)
	at := now()
	const perBlock = 10000
	for first := 0; first < manySeries; first += perBlock {
		block := &segment.Block{Time: at}
		for i := first; i < first+perBlock; i++ {
			ref := uint64(i + 1)
			block.Series = append(block.Series, segment.Series{Ref: ref, Labels: segment.Labels{
				{Name: "__name__", Value: fmt.Sprintf("http_request_duration_seconds_metric_%d", i%500)},
				{Name: "cluster", Value: fmt.Sprintf("production-%d", i%3)},
				{Name: "code", Value: fmt.Sprintf("%d", 200+i%5)},
				{Name: "container", Value: fmt.Sprintf("container-%d", i%40)},
				{Name: "handler", Value: fmt.Sprintf("/api/v1/resource/%d", i%30)},
				{Name: "instance", Value: fmt.Sprintf("10.0.%d.%d:9100", i/500/250, i/500%250)},
				{Name: "job", Value: fmt.Sprintf("service-%d", i%60)},
				{Name: "method", Value: []string{"GET", "POST"}[i%2]},
				{Name: "namespace", Value: fmt.Sprintf("namespace-%d", i%20)},
				{Name: "pod", Value: fmt.Sprintf("service-7d9f8b6c5d-%05d", i/500)},
			}})
			block.Samples.Refs = append(block.Samples.Refs, ref)
			block.Samples.Timestamps = append(block.Samples.Timestamps, at)
			block.Samples.Values = append(block.Samples.Values, float64(i)*1.5)
		}
		src.append(block)
	}
	src.rotate()
	return src
}

func heapMiB() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// BenchmarkMillion restarts a server with a million series and takes snapshots
// of them over gRPC.
func BenchmarkMillion(b *testing.B) {
	c := testConfig(b)
	c.Staleness = time.Hour
	func() {
		src := million(b)
		s := start(b, c)
		defer src.feed(s.Server)()
		s.await(b, src)
		s.stop()
	}()

	b.Run("restart", func(b *testing.B) {
		before := heapMiB()
		for range b.N {
			s, err := server.New(c, slog.New(slog.DiscardHandler), nil)
			require.NoError(b, err)
			require.NoError(b, s.Ready())
			b.StopTimer()
			b.ReportMetric(heapMiB()-before, "MiB")
			require.NoError(b, s.Close())
			b.StartTimer()
		}
	})

	s := start(b, c)
	for name, open := range map[string]func(testing.TB, context.Context, string, *getRequest) receiver{
		"snapshot grpc-go": openGRPC,
		"snapshot connect": openConnect(true, connect.WithAcceptCompression("gzip", nil, nil)),
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				began, first, series := time.Now(), time.Duration(0), 0
				recv := open(b, context.Background(), s.RPCAddr().String(), &getRequest{})
				for {
					r, err := recv()
					if errors.Is(err, io.EOF) {
						break
					}
					require.NoError(b, err)
					if first == 0 {
						first = time.Since(began)
					}
					series += len(r.GetTimeseries())
				}
				require.Equal(b, manySeries, series)
				b.ReportMetric(float64(first.Milliseconds()), "ms-to-first")
			}
			b.ReportMetric(float64(manySeries)*float64(b.N)/b.Elapsed().Seconds(), "series/s")
		})
	}
}
