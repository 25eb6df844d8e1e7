package storeapi

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/server/selection"
)

// BenchmarkStreamStore is all series of a log, with their samples of five minutes.
func BenchmarkStreamStore(b *testing.B) {
	const pods, each, rounds = 40, 250, 20
	dir := b.TempDir()
	w := newLogWriter(b, dir)
	for round := range int64(rounds) {
		for pod := range pods {
			for i := range each {
				ls := labels.FromStrings(
					"__name__", fmt.Sprintf("http_request_duration_seconds_%d_bucket", i/12), "cluster", "production-1", "container", "server",
					"endpoint", "metrics", "instance", fmt.Sprintf("10.0.%d.%d:8080", pod/250, pod%250), "job", "serving/frontend", "le", fmt.Sprint(i%12),
					"namespace", "serving", "pod", fmt.Sprintf("frontend-7d9c5b8f6d-%05d", pod), "service", "frontend")
				w.float(ls, 15_000*round, float64(round*int64(i%5)))
			}
			w.append(15_000 * round)
		}
	}
	w.close()
	s := openStore(b, dir, time.Hour)
	req := &thanos.SeriesRequest{
		MinTime: 0, MaxTime: math.MaxInt64,
		Matchers: []*thanos.LabelMatcher{{Type: thanos.LabelMatcher_NEQ, Name: model.MetricNameLabel}},
	}
	sent := 0
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		err := s.series(b.Context(), selection.Viewer{Peer: "peer"}, req, func(envelopes []byte) error {
			sent += len(envelopes)
			return nil
		})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pods*each), "ns/series")
	b.ReportMetric(float64(sent)/float64(b.N*pods*each), "B/series")
}
