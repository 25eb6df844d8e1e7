package server

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/internal/segment"
)

// BenchmarkMatch finds the series of selectors among 100,000.
func BenchmarkMatch(b *testing.B) {
	x, h := newSeriesIndex()
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
		s, err := parseSelection(text)
		require.NoError(b, err)
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			found, e := 0, newEvaluation(b.Context())
			for b.Loop() {
				v := x.view()
				series, err := v.find(e, s)
				if err != nil {
					b.Fatal(err)
				}
				found = 0
				for range series.each {
					found++
				}
				e.end()
			}
			b.ReportMetric(float64(found), "found")
		})
	}
}

// BenchmarkAddSeries applies blocks of 2000 series that are seen for the first
// time, to the state and the index.
func BenchmarkAddSeries(b *testing.B) {
	_, h := newSeriesIndex()
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

// What is known of series that were dropped does not stay for as long as a stream.
func TestMatchedForgets(t *testing.T) {
	h := head.New()
	selected, err := parseSelection(`{i!="1"}`)
	require.NoError(t, err)
	m := newMatched(selected, newEvaluation(t.Context()))
	most := int64(0)
	for sequence := uint64(1); sequence <= 40*prunePages; sequence++ {
		b := &segment.Block{Sequence: sequence, Time: int64(sequence)}
		ref := sequence * refset.PageSize
		b.Series = segment.TableOf(segment.Series{Ref: ref, Labels: segment.Labels{{Name: "i", Value: fmt.Sprint(sequence % 2)}}})
		b.Samples.Add(segment.Sample{Ref: ref})
		require.NoError(t, h.ApplyBlock(b))
		require.NoError(t, m.learn(b, h))
		require.Equal(t, sequence%2 == 0, m.has(ref))
		if sequence%10 == 0 {
			h.Expire(int64(sequence-10), nil)
			require.NoError(t, h.Keyframe(func(*segment.Keyframe) error { return nil }))
		}
		m.forget(h)
		most = max(most, m.bytes())
	}
	require.Less(t, most, int64(2*prunePages*2*refset.PageBytes))
	require.True(t, m.has(40*prunePages*refset.PageSize))
}
