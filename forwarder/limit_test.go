package forwarder

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/units"
	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/segment"
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
		if got := testutil.ToFloat64(r.in.metrics.overLimit.WithLabelValues("live-series")); got != 1 {
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

// TestEveryLimit has a request at each limit, which is stored, and one above,
// of which the answer names the flag and the metric counts the limit.
func TestEveryLimit(t *testing.T) {
	name := func(n int) string { return strings.Repeat("n", n) }
	labels := func(n int) []string {
		list := []string{"__name__", "up"}
		for i := 1; i < n; i++ {
			list = append(list, fmt.Sprintf("l%03d", i), "v")
		}
		return list
	}
	several := func(n int) []ts {
		var list []ts
		for i := range n {
			list = append(list, one(1, 5, "__name__", "up", "i", fmt.Sprint(i)))
		}
		return list
	}
	buckets := func(n int) []ts {
		h := prompb.Histogram{
			Count: &prompb.Histogram_CountInt{CountInt: uint64(n)}, Sum: 1, Timestamp: 5,
			ZeroCount:     &prompb.Histogram_ZeroCountInt{},
			PositiveSpans: []prompb.BucketSpan{{Length: uint32(n)}}, PositiveDeltas: make([]int64, n),
		}
		h.PositiveDeltas[0] = 1
		return []ts{{labels: []string{"__name__", "up"}, histograms: []prompb.Histogram{h}}}
	}
	exemplars := func(n int) []ts { // characters, most of them of two bytes
		list := []prompb.Label{{Name: "é", Value: strings.Repeat("é", n/2)}, {Name: "a", Value: strings.Repeat("é", n-n/2-2)}}
		return []ts{{labels: []string{"__name__", "up"}, samples: []prompb.Sample{{Value: float64(n), Timestamp: 5}}, exemplars: []prompb.Exemplar{{Labels: list, Value: 1}}}}
	}
	custom := func(n int) []ts { // a histogram of some more than n × 8 bytes
		h := prompb.Histogram{Count: &prompb.Histogram_CountInt{}, ZeroCount: &prompb.Histogram_ZeroCountInt{}, Schema: -53, Timestamp: 5}
		for i := range n {
			h.CustomValues = append(h.CustomValues, float64(i))
		}
		return []ts{{labels: []string{"__name__", "up"}, histograms: []prompb.Histogram{h}}}
	}
	// Metadata of 2.0 that refers many times to two texts.
	twoTexts := func(n int) []ts {
		var list []ts
		for i := range n {
			s := one(1, int64(i), "__name__", "up")
			s.metadata = &prompb.MetricMetadata{Type: 1, Help: strings.Repeat("ab"[i%2:i%2+1], 1000)}
			list = append(list, s)
		}
		return list
	}
	ahead := func(d time.Duration) []ts {
		return []ts{one(1, time.Now().Add(d).UnixMilli(), "__name__", "up")}
	}
	both := []linkv1.Schema{v1, v2}
	for _, test := range []struct {
		limit     string
		change    func(*Config)
		at, above []ts
		code      linkv1.Code
		schemas   []linkv1.Schema
	}{
		{"series", func(c *Config) { c.Limits.Series = 3 }, several(3), several(4), linkv1.Code_CODE_TOO_LARGE, both},
		{"samples", func(c *Config) { c.Limits.Samples = 3 }, several(3), several(4), linkv1.Code_CODE_TOO_LARGE, both},
		{"decoded-bytes", func(c *Config) { c.Limits.DecodedBytes = 1000 }, several(10), several(100), linkv1.Code_CODE_TOO_LARGE, both},
		{"request-bytes", func(c *Config) { c.RequestBytes = 200 }, several(3), []ts{one(1, 5, append(labels(40), "a", random(1000))...)}, linkv1.Code_CODE_TOO_LARGE, both},
		{"labels", func(c *Config) { c.Limits.Labels = 4 }, []ts{one(1, 5, labels(4)...)}, []ts{one(1, 5, labels(5)...)}, invalid, both},
		{"label-name-length", func(c *Config) { c.Limits.NameBytes = 20 }, []ts{one(1, 5, "__name__", "up", name(20), "v")}, []ts{one(1, 5, "__name__", "up", name(21), "v")}, invalid, both},
		{"label-value-length", func(c *Config) { c.Limits.ValueBytes = 20 }, []ts{one(1, 5, "__name__", "up", "a", name(20))}, []ts{one(1, 5, "__name__", "up", "a", name(21))}, invalid, both},
		{"histogram-buckets", func(c *Config) { c.Limits.Buckets = 8 }, buckets(8), buckets(9), invalid, both},
		{"labels-length", func(c *Config) { c.Limits.LabelsBytes = 20 }, []ts{one(1, 5, "__name__", "up", "a", name(9))}, []ts{one(1, 5, "__name__", "up", "a", name(10))}, invalid, both},
		{"exemplar-length", func(c *Config) { c.Limits.ExemplarRunes = 40 }, exemplars(40), exemplars(41), invalid, both},
		{"histogram-bytes", func(c *Config) { c.Limits.HistogramBytes = 1000 }, custom(110), custom(125), invalid, both},
		{"decoded-bytes", func(c *Config) { c.Limits.DecodedBytes = 5000 }, twoTexts(4), twoTexts(6), invalid, []linkv1.Schema{v2}},
		{"block-bytes", func(c *Config) { c.Limits.BlockBytes = 3000 }, several(3), several(40), linkv1.Code_CODE_TOO_LARGE, both},
		{"live-series", func(c *Config) { c.MaxSeries = 3 }, several(3), several(4), invalid, both},
		{"future", func(*Config) {}, ahead(9 * time.Minute), ahead(time.Hour), invalid, both},
	} {
		for _, schema := range test.schemas {
			t.Run(fmt.Sprintf("%s/%s", test.limit, schema), func(t *testing.T) {
				c := testConfig(t.TempDir())
				test.change(&c)
				r := start(t, c)
				s := r.sender()
				if v := s.send(schema, bodyOf(t, schema, test.at...)); v.GetCode() != ok {
					t.Errorf("at the limit: %v", v)
				}
				counted := r.in.metrics.overLimit.WithLabelValues(test.limit)
				if n := testutil.ToFloat64(counted); n != 0 {
					t.Errorf("%v counted before", n)
				}
				v := s.send(schema, bodyOf(t, schema, test.above...))
				if v.GetCode() != test.code || !strings.Contains(strings.Join(v.GetErrors(), "\n"), "(--limit."+test.limit+")") {
					t.Errorf("above the limit: %v", v)
				}
				if n := testutil.ToFloat64(counted); n != 1 {
					t.Errorf("%v counted", n)
				}
			})
		}
	}
}

// waitingWriter appends when it is told to, and notes the most that was in
// flight then.
type waitingWriter struct {
	logWriter
	turns    chan struct{}
	inFlight func() int64
	most     atomic.Int64
}

func (w *waitingWriter) Append(b *segment.Block) (uint64, error) {
	<-w.turns
	w.most.Store(max(w.most.Load(), w.inFlight()))
	return w.logWriter.Append(b)
}

// TestReceiversWaitForRoom has receivers send more than may be in flight. What
// has no room waits in its connection, and is stored in its turn.
func TestReceiversWaitForRoom(t *testing.T) {
	const senders, batches = 4, 5
	text := random(leastWork)
	body := func(at int) []byte { // all of one size
		return bodyOf(t, v1, one(1, int64(1000+at), "__name__", "up", "text", text))
	}
	weight, err := snappy.DecodedLen(body(0))
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig(t.TempDir())
	c.RequestBytes, c.Limits.DecodedBytes, c.Limits.ValueBytes = 3*leastWork/2, weight, len(text)
	c.InflightBytes = units.Base2Bytes(2 * 2 * usualV1 * weight) // room to decode two
	c.PeerShare = 100
	w := &waitingWriter{turns: make(chan struct{})}
	r := start(t, c, func(f *Forwarder) {
		w.logWriter, f.appender.state.writer = f.appender.state.writer, w
		w.inFlight = f.in.room.Used
	})
	var all []*sender
	for i := range senders {
		s := r.sender()
		all = append(all, s)
		for j := range batches {
			s.post(v1, body(i*batches+j))
		}
	}
	eventually(t, "others wait", func() bool { return r.in.room.Waiting() > 0 && w.inFlight() >= usualV1*int64(weight) })
	close(w.turns)
	for _, s := range all {
		for range batches {
			if v := s.verdict(); v.GetCode() != ok {
				t.Errorf("verdict: %v", v)
			}
		}
	}
	if got := w.most.Load(); got < usualV1*int64(weight) || got > int64(c.InflightBytes)/2 {
		t.Errorf("%d bytes were in flight, want %d at least, %d at most", got, usualV1*weight, c.InflightBytes/2)
	}
	if n := len(r.blocks()); n != senders*batches {
		t.Errorf("%d blocks", n)
	}
	eventually(t, "nothing is in flight", func() bool { return w.inFlight() == 0 })
}

// random is text that does not compress.
func random(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.N(26))
	}
	return string(b)
}

// TestFuture refuses of a request what is too far ahead, and stores the rest: a
// series of which nothing is left is not begun.
func TestFuture(t *testing.T) {
	soon, late := time.Now().UnixMilli(), time.Now().Add(time.Hour).UnixMilli()
	exemplar := prompb.Exemplar{Labels: []prompb.Label{{Name: "trace", Value: "1"}}, Value: 1, Timestamp: soon}
	body := bodyOf(t, v1,
		one(1, soon, "__name__", "before"),
		ts{labels: []string{"__name__", "mixed"}, samples: []prompb.Sample{{Value: 1, Timestamp: soon}, {Value: 2, Timestamp: late}}, exemplars: []prompb.Exemplar{exemplar}},
		ts{labels: []string{"__name__", "late"}, samples: []prompb.Sample{{Value: 1, Timestamp: late}}, exemplars: []prompb.Exemplar{exemplar}},
		one(1, soon, "__name__", "after"),
	)
	r := start(t, testConfig(t.TempDir()))
	s := r.sender()
	for range 2 { // the second is a repeat
		v := s.send(v1, body)
		if diff := cmp.Diff(told{invalid, 3, 0, 1, 3}, toldBy(v)); diff != "" {
			t.Errorf("verdict, want -, got +:\n%s", diff)
		}
		if len(v.GetErrors()) != 2 || !strings.Contains(v.GetErrors()[0], `"mixed"`) || !strings.Contains(v.GetErrors()[1], `"late"`) {
			t.Errorf("errors: %q", v.GetErrors())
		}
	}
	want := map[string]int{"__name__=before": 1, "__name__=mixed": 2, "__name__=after": 1}
	if diff := cmp.Diff(want, stored(r.blocks())); diff != "" {
		t.Errorf("stored, want -, got +:\n%s", diff)
	}
}
