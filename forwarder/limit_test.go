package forwarder

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestLiveSeries refuses new series when there are as many as are allowed. The
// known ones go on, and when some have been dropped there is room again.
func TestLiveSeries(t *testing.T) {
	c := testConfig(t.TempDir())
	c.MaxSeries = 3
	c.SegmentSize, c.SeriesIdle = 1, time.Hour
	var ahead atomic.Int64
	clock := func(f *Forwarder) {
		f.appender.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}
	r := start(t, c, clock)
	s := r.sender()
	s.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "a"), one(1, 5, "__name__", "b")))
	for i := range 2 { // the second time after a restart
		v := s.send(v1, bodyOf(t, v1, one(2, int64(6+i), "__name__", "a"), one(1, 6, "__name__", "c"), one(1, 6, "__name__", "d")))
		if diff := cmp.Diff(told{invalid, 2, 0, 0, 1}, toldBy(v)); diff != "" {
			t.Errorf("verdict, want -, got +:\n%s", diff)
		}
		if len(v.GetErrors()) != 1 || !strings.Contains(v.GetErrors()[0], flagMaxSeries) || !strings.Contains(v.GetErrors()[0], `"d"`) {
			t.Errorf("errors: %q", v.GetErrors())
		}
		if got := testutil.ToFloat64(r.in.metrics.overLimit); got != 1 {
			t.Errorf("%v series counted as refused", got)
		}
		r.stop()
		r = start(t, c, clock)
		s = r.sender()
	}
	ahead.Store(int64(2 * time.Hour))
	for i := range 20 { // a segment ends when its blocks take as much as its keyframe
		s.mustStore(v1, bodyOf(t, v1, one(3, int64(10+i), "__name__", "a")))
	}
	s.mustStore(v1, bodyOf(t, v1, one(1, 8, "__name__", "d")))
}
