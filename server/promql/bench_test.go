package promql

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/chunk"
)

func BenchmarkOverlaid(b *testing.B) {
	e := openEngine(b, b.TempDir(), DefaultConfig(), time.Hour)
	var all []chunk.Series
	for i := range 10000 {
		ls := labels.FromStrings("__name__", "x", "job", fmt.Sprint("job", i%10), "instance", fmt.Sprint("instance-", i/100), "pod", fmt.Sprint("pod-", i))
		var builder chunk.Builder
		for j := range 20 {
			builder.Float(int64(j)*3000+int64(i%3000), 2, float64(i*j))
		}
		all = append(all, chunk.Series{Labels: ls, Chunks: builder.Take()})
	}
	for _, text := range []string{"sum by (job) (rate(x[1m]))", "sum by (job) (x)", "x", "count(x)", "rate(x[1m])"} {
		b.Run(text, func(b *testing.B) {
			x, err := e.Parse(b.Context(), viewer, text)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				_, err := e.Evaluate(b.Context(), x, 60000, 60000, 0, Options{Viewer: viewer, Overlay: all})
				require.NoError(b, err)
			}
		})
	}
}
