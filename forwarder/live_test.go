package forwarder

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// latest is what the head has of the series with a reference.
func (r *running) latest(ref uint64) segment.Latest {
	r.t.Helper()
	l, known := r.appender.state.head.Latest(ref)
	if !known {
		r.t.Fatalf("series %d is not known", ref)
	}
	return l
}

// TestSampleFromTheFuture goes on with a series after a sample from the future, which
// is not the one that others are compared with from then on, nor what the series shows.
func TestSampleFromTheFuture(t *testing.T) {
	histogram := func(at int64) ts {
		return ts{labels: []string{"__name__", "a"}, histograms: []prompb.Histogram{prompb.FromIntHistogram(at, good())}}
	}
	float := func(at int64) ts { return one(1, at, "__name__", "a") }
	ahead := DefaultLimitConfig().Future.Milliseconds() - head.ClockSkew
	for _, schema := range []linkv1.Schema{v1, v2} {
		for name, sample := range map[string]func(at int64) ts{"float": float, "histogram": histogram} {
			t.Run(fmt.Sprint(schema, " ", name), func(t *testing.T) {
				c := testConfig(t.TempDir())
				r := start(t, c)
				s := r.sender()
				now := time.Now().UnixMilli()
				for _, at := range []int64{now - 2, now + ahead, now - 1, now} {
					s.mustStore(schema, bodyOf(t, schema, sample(at)))
				}
				repeat := func(other string) {
					t.Helper()
					before := len(r.blocks())
					s.mustStore(schema, bodyOf(t, schema, sample(now), one(1, 1, "__name__", other)))
					blocks := r.blocks()
					last := blocks[len(blocks)-1]
					if len(blocks) != before+1 || last.Samples.Len()+len(last.Histograms) != 1 || testutil.ToFloat64(r.in.metrics.repeats) != 1 {
						t.Errorf("the sample of now was stored again: %v %v", last.Samples, last.Histograms)
					}
				}
				repeat("b")
				_ = s.conn.Close()
				r.stop()
				if l := r.latest(1); l.Timestamp != now {
					t.Errorf("the latest is at %d, now is %d", l.Timestamp, now)
				}
				r = start(t, c)
				s = r.sender()
				repeat("c")
			})
		}
	}
}

// TestWhatIsWrittenIsNotIdle writes series for longer than they may be idle, with
// samples that do not become the latest, and has new segments begun meanwhile.
func TestWhatIsWrittenIsNotIdle(t *testing.T) {
	const many = 20 // a segment ends when its blocks take as much as its keyframe
	c := testConfig(t.TempDir())
	c.SegmentSize, c.SeriesIdle = 1, time.Hour
	var ahead atomic.Int64
	r := start(t, c, func(f *Forwarder) {
		f.appender.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	s := r.sender()
	old := func(i int) []ts {
		return []ts{
			one(1, int64(1000-i), "__name__", "float"),
			{labels: []string{"__name__", "histogram"}, histograms: []prompb.Histogram{prompb.FromIntHistogram(int64(1000-i), good())}},
		}
	}
	s.mustStore(v1, bodyOf(t, v1, append(old(0), one(1, 1, "__name__", "idle"))...))
	for i := range 4 * many {
		ahead.Store(int64(i) * int64(2*time.Minute))
		s.mustStore(v1, bodyOf(t, v1, old(i)...))
	}
	r.stop()
	if n := len(r.appender.current.Segments()); n < 2 {
		t.Errorf("%d segments", n)
	}
	refs := map[uint64]int64{}
	r.appender.state.head.Each(func(ref uint64, l *segment.Latest) bool {
		refs[ref] = l.Timestamp
		return true
	})
	if diff := cmp.Diff(map[uint64]int64{1: 1000, 2: 1000}, refs); diff != "" {
		t.Errorf("series with their latest samples, want -, got +:\n%s", diff)
	}
}
