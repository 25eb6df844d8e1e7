package server_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
)

// manySeries is the size for which the targets are stated.
const manySeries = 1_000_000

// million returns a source of series with ten labels each.
func million(b *testing.B) *source {
	src := newSource(b)
	const perBlock = 10000
	for first := 0; first < manySeries; first += perBlock {
		src.append(tenLabels(first, perBlock))
	}
	src.rotate()
	return src
}

// tenLabels returns a block of n new series with ten labels and a sample each.
func tenLabels(first, n int) *segment.Block {
	at := now()
	block := &segment.Block{Time: at}
	var series []segment.Series
	for i := first; i < first+n; i++ {
		ref := uint64(i + 1)
		series = append(series, segment.Series{Ref: ref, Labels: segment.Labels{
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
		block.Samples.Add(segment.Sample{Ref: ref, Timestamp: at, Value: float64(i) * 1.5})
	}
	block.Series = segment.TableOf(series...)
	return block
}

func heapMiB() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// BenchmarkRestart restarts a server with a million series.
func BenchmarkRestart(b *testing.B) {
	c := testConfig(b)
	c.Staleness = time.Hour
	func() {
		src := million(b)
		s := start(b, c)
		defer src.feed(s.Server)()
		s.await(b, src)
		s.stop()
	}()

	before := heapMiB()
	b.ResetTimer()
	for range b.N {
		s, err := server.New(c, slog.New(slog.DiscardHandler), nil)
		require.NoError(b, err)
		require.NoError(b, s.Ready())
		b.StopTimer()
		b.ReportMetric(heapMiB()-before, "MiB")
		require.NoError(b, s.Close())
		b.StartTimer()
	}
}
