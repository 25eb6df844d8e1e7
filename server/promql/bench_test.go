package promql

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
)

// Expressions over 10,000 series of 20 samples, 3 seconds apart, as Prometheus' engine
// evaluates them on lists, as it does on a window, and as a follower does.
func BenchmarkInstant(b *testing.B) {
	var all []sampleOf
	for j := range int64(21) {
		for i := range 10_000 {
			key := keyOf(labels.FromStrings(model.MetricNameLabel, "x_total", "job", fmt.Sprint("job", i%10), "instance", fmt.Sprint("instance-", i/100), "pod", fmt.Sprint("pod-", i)))
			all = append(all, sampleOf{labels: key, timestamp: j * 3000, value: float64(int64(i) * j)})
		}
	}
	lists, e := newNaive(all), loaded(b, all, 2)
	delay := time.Second
	o := Options{Viewer: viewer, Delay: &delay, Late: 1000}
	for _, text := range []string{"sum by (job) (rate(x_total[1m]))", "sum by (job) (x_total)", "count(x_total)", "x_total", "rate(x_total[1m])"} {
		x, err := e.Parse(b.Context(), viewer, text)
		require.NoError(b, err)
		const at = 60_000
		b.Run(text+"/lists", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q, err := e.engine.NewInstantQuery(b.Context(), lists, promql.NewPrometheusQueryOpts(false, 0), text, time.UnixMilli(at))
				require.NoError(b, err)
				require.NoError(b, q.Exec(b.Context()).Err)
			}
		})
		b.Run(text+"/window", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := e.Evaluate(b.Context(), x, at, at, 0, o)
				require.NoError(b, err)
			}
		})
		b.Run(text+"/follower", func(b *testing.B) {
			f := e.Follow(x, o)
			defer f.Close()
			b.ReportAllocs()
			for b.Loop() {
				_, err := f.Evaluate(b.Context(), viewer, at)
				require.NoError(b, err)
			}
		})
	}
}
