package history

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
)

const (
	benchTargets  = 100
	benchMetrics  = 1000 // of a target
	benchScrapes  = 240  // an hour at 15 s
	benchInterval = 15_000
)

// hour writes an hour of samples of 100,000 series as one complete segment, and starts the
// next.
func hour(b *testing.B) *writing {
	w := &writing{t: b, dir: b.TempDir(), options: seglog.Options{Sync: seglog.SyncNever, SegmentSize: 1 << 30}}
	w.open()
	b.Cleanup(w.close)
	r := rand.New(rand.NewPCG(1, 1))
	values := make([]float64, benchTargets*benchMetrics)
	for scrape := range benchScrapes {
		for target := range benchTargets {
			block := segment.Block{Sequence: w.log().Last() + 1, Time: int64(scrape*benchInterval + target*100 + 5)}
			var added []segment.Series
			for metric := range benchMetrics {
				i := target*benchMetrics + metric
				if scrape == 0 {
					added = append(added, segment.Series{Ref: uint64(i + 1), Labels: segment.Labels{
						{Name: "__name__", Value: fmt.Sprintf("metric_%d", metric/10)},
						{Name: "handler", Value: fmt.Sprintf("/api/v1/%d", metric%10)},
						{Name: "instance", Value: fmt.Sprintf("10.0.0.%d:9100", target)},
						{Name: "job", Value: fmt.Sprintf("job-%d", target%10)},
					}})
				}
				switch metric % 4 {
				case 0: // constant
				case 1, 2:
					values[i] += float64(r.IntN(1000))
				default:
					values[i] += math.Round(r.Float64()*1e6) / 1e6
				}
				block.Samples.Add(segment.Sample{Ref: uint64(i + 1), Timestamp: int64(scrape*benchInterval + target*100), Value: values[i]})
			}
			block.Series = segment.TableOf(added...)
			_, err := w.w.Append(&block)
			require.NoError(b, err)
			require.NoError(b, w.head.ApplyBlock(&block))
		}
	}
	require.NoError(b, w.w.Rotate())
	return w
}

const benchSamples = benchTargets * benchMetrics * benchScrapes

// selectCount selects, and returns how many series and samples that came to.
func selectCount(b *testing.B, s *Store, log *seglog.Log, text string) (series, samples int) {
	sel, err := selectiontest.Parse(text)
	require.NoError(b, err)
	e := selectiontest.Evaluation(b.Context())
	defer e.End()
	require.NoError(b, s.Select(e, log, sel, 0, benchScrapes*benchInterval, func(found chunk.Series) error {
		series++
		for _, c := range found.Chunks {
			samples += c.Data.NumSamples()
		}
		return nil
	}))
	return series, samples
}

// BenchmarkHour selects from an hour of 100,000 series: of a segment that has no part yet,
// of one that has, and by decoding the segment alone.
func BenchmarkHour(b *testing.B) {
	w := hour(b)
	size := w.log().Segments()[0].Size
	b.Run("decode", func(b *testing.B) {
		defer reportCPU(b, cpu())
		for b.Loop() {
			h := head.New()
			require.NoError(b, w.log().RebuildSegment(1, h, nil))
		}
	})
	b.Run("build", func(b *testing.B) {
		defer reportCPU(b, cpu())
		for b.Loop() {
			s := openStore(b, w, options())
			_, samples := selectCount(b, s, w.log(), `metric_7{handler="/api/v1/1"}`)
			require.Equal(b, benchTargets*benchScrapes, samples)
			b.ReportMetric(float64(s.bytes)/benchSamples, "B/sample")
			b.ReportMetric(float64(size)/benchSamples, "segmentB/sample")
			s.mu.Lock()
			for _, en := range s.entries {
				s.drop(en)
			}
			s.mu.Unlock()
			closeStore(b, s)
		}
	})
	s := openStore(b, w, options())
	defer closeStore(b, s)
	for _, text := range []string{`metric_7{handler="/api/v1/1"}`, `metric_7`, `{job=~"job-[12]",handler="/api/v1/3"}`, `{job="job-3"}`, `{job!=""}`} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			defer reportCPU(b, cpu())
			found := 0
			for b.Loop() {
				found, _ = selectCount(b, s, w.log(), text)
			}
			b.ReportMetric(float64(found), "series")
		})
	}
}

// cpu is what the process has taken of the processors.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // It does not fail.
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports what an operation has taken since, for a machine that others use.
func reportCPU(b *testing.B, since time.Duration) {
	b.ReportMetric((cpu()-since).Seconds()/float64(b.N), "cpu-s/op")
}
