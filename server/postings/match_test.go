package postings

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
)

// BenchmarkMatch finds the series of selectors among 100,000.
func BenchmarkMatch(b *testing.B) {
	x, h := observing()
	var series []segment.Series
	for i := range 100_000 {
		series = append(series, segment.Series{Ref: uint64(i + 1), Labels: segment.Labels{
			{Name: "__name__", Value: fmt.Sprintf("metric_%d", i%200)},
			{Name: "instance", Value: fmt.Sprintf("10.0.%d.%d:9090", i/200/250, i/200%250)},
			{Name: "job", Value: fmt.Sprintf("service-%d", i%20)},
		}})
	}
	require.NoError(b, h.ApplyBlock(&segment.Block{Sequence: 1, Series: segment.TableOf(series...)}))
	for _, text := range []string{`metric_7`, `metric_7{instance="10.0.1.7:9090"}`, `{job=~"service-1.*",__name__!="metric_10"}`} {
		s, err := selectiontest.Parse(text)
		require.NoError(b, err)
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			found, e := 0, selectiontest.Evaluation(b.Context())
			for b.Loop() {
				v := x.View()
				series, err := Find(e, v, s)
				if err != nil {
					b.Fatal(err)
				}
				found = 0
				for range series.Each {
					found++
				}
				e.End()
			}
			b.ReportMetric(float64(found), "found")
		})
	}
}

// BenchmarkAddSeries applies blocks of 2000 series that are seen for the first
// time, to the state and the index.
func BenchmarkAddSeries(b *testing.B) {
	_, h := observing()
	blocks := make([]*segment.Block, 64)
	for n := range blocks {
		var series []segment.Series
		for i := range 2000 {
			series = append(series, segment.Series{Labels: segment.Labels{
				{Name: "__name__", Value: fmt.Sprintf("metric_%d", i%200)},
				{Name: "instance", Value: fmt.Sprintf("10.0.%d.%d:9090", n, i/200)},
				{Name: "job", Value: fmt.Sprintf("service-%d", n%20)},
				{Name: "namespace", Value: "production"},
				{Name: "pod", Value: fmt.Sprintf("service-7d9f8b6c5d-%05d", 10*n+i/200)},
			}})
		}
		blocks[n] = &segment.Block{Series: segment.TableOf(series...)}
	}
	ref := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		block := blocks[int(ref/2000)%len(blocks)]
		block.Sequence++
		for i := range block.Series.Refs {
			ref++
			block.Series.Refs[i] = ref
		}
		if err := h.ApplyBlock(block); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2000*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mseries/s")
}
