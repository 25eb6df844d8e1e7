package forwarder

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

func TestRepeats(t *testing.T) {
	for _, schema := range []linkv1.Schema{v1, v2} {
		t.Run(schema.String(), func(t *testing.T) {
			r := start(t, testConfig(t.TempDir()))
			s := r.sender()
			h := ts{labels: []string{"__name__", "h"}, histograms: []prompb.Histogram{prompb.FromIntHistogram(5, good())}}
			first := bodyOf(t, schema, one(1, 5, "__name__", "a"), h)
			want := s.mustStore(schema, first)
			// The same bytes: the same verdict, and nothing stored.
			again := s.mustStore(schema, first)
			want.Id = again.Id
			if diff := cmp.Diff(toldBy(want), toldBy(again)); diff != "" {
				t.Errorf("repeated request: %s", diff)
			}
			// Other bytes with the latest samples once more: written, not stored.
			v := s.mustStore(schema, bodyOf(t, schema, h, one(1, 5, "__name__", "a")))
			if v.GetSamplesWritten() != 1 || v.GetHistogramsWritten() != 1 || len(r.blocks()) != 1 {
				t.Errorf("repeated samples: %v, %d blocks", v, len(r.blocks()))
			}
			// An older sample, another value at the same time, a newer one: stored.
			for _, x := range []ts{one(1, 4, "__name__", "a"), one(2, 5, "__name__", "a"), one(1, 6, "__name__", "a")} {
				s.mustStore(schema, bodyOf(t, schema, x))
			}
			if n := len(r.blocks()); n != 4 {
				t.Errorf("%d blocks", n)
			}
			if got := testutil.ToFloat64(r.in.metrics.repeats); got != 2 {
				t.Errorf("%v repeats counted", got)
			}
			if l, _ := r.appender.state.head.Latest(1); l.Timestamp != 6 {
				t.Errorf("latest at %d", l.Timestamp)
			}
		})
	}
}

// TestRepeatsInOtherRequests has a sender repeat samples in other requests: of a
// series only the latest sample is known.
func TestRepeatsInOtherRequests(t *testing.T) {
	for _, schema := range []linkv1.Schema{v1, v2} {
		t.Run(schema.String(), func(t *testing.T) {
			r := start(t, testConfig(t.TempDir()))
			s := r.sender()
			for _, batch := range [][]int64{{1, 2, 3}, {3, 4}, {2, 3, 4, 5}} {
				x := ts{labels: []string{"__name__", "a"}}
				for _, at := range batch {
					x.samples = append(x.samples, prompb.Sample{Timestamp: at, Value: float64(at)})
				}
				s.mustStore(schema, bodyOf(t, schema, x))
			}
			var got []int64
			for _, b := range r.blocks() {
				for x := range b.Samples.All() {
					got = append(got, x.Timestamp)
				}
			}
			if diff := cmp.Diff([]int64{1, 2, 3, 4, 2, 3, 5}, got); diff != "" {
				t.Errorf("stored, want -, got +:\n%s", diff)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	r := start(t, testConfig(dir))
	s := r.sender()
	bodies := [][]byte{
		bodyOf(t, v1, one(1, 5, "__name__", "a", "job", "x"), one(2, 5, "__name__", "b")),
		bodyOf(t, v1, one(1, 6, "__name__", "a", "job", "x"), one(1, 6, "job", "nameless")),
		bodyOf(t, v1, ts{labels: []string{"__name__", "h"}, histograms: []prompb.Histogram{prompb.FromIntHistogram(5, good())}}),
	}
	var want []told
	for _, b := range bodies {
		want = append(want, toldBy(s.send(v1, b)))
	}
	id := r.appender.current.ID()
	r.stop()

	r = start(t, testConfig(dir))
	s = r.sender()
	if got := r.appender.current.ID(); got != id {
		t.Errorf("log %s, before %s", got, id)
	}
	for i, b := range bodies {
		v := s.send(v1, b)
		if diff := cmp.Diff(want[i], toldBy(v)); diff != "" {
			t.Errorf("request %d again: %s", i, diff)
		}
		if want[i].Code == invalid && !strings.Contains(strings.Join(v.GetErrors(), ""), "no metric name") {
			t.Errorf("request %d again: %q", i, v.GetErrors())
		}
	}
	if n := len(r.blocks()); n != 3 {
		t.Errorf("%d blocks after the repeats", n)
	}
	// Latest samples are known, in whatever schema they come again.
	s.mustStore(v2, bodyOf(t, v2, one(1, 6, "__name__", "a", "job", "x"),
		ts{labels: []string{"__name__", "h"}, histograms: []prompb.Histogram{prompb.FromIntHistogram(5, good())}}))
	if n := len(r.blocks()); n != 3 {
		t.Errorf("%d blocks after the repeated samples", n)
	}
	// Series keep their references, new ones get new ones.
	s.mustStore(v2, bodyOf(t, v2, one(1, 7, "__name__", "b"), one(1, 7, "__name__", "c")))
	last := r.blocks()[3]
	if diff := cmp.Diff([]segment.RefRun{{First: 2, Length: 1}, {First: 4, Length: 1}}, last.Samples.Refs); diff != "" || last.Series.Len() != 1 {
		t.Errorf("references %s, %d new series", diff, last.Series.Len())
	}
}

func TestMetadata(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	s := r.sender()
	histogramMeta := &prompb.MetricMetadata{Type: prompb.MetricMetadata_HISTOGRAM, Help: "Time.", Unit: "seconds"}
	bucket, sum := one(1, 5, "__name__", "d_bucket", "le", "1"), one(1, 5, "__name__", "d_sum")
	bucket.metadata, sum.metadata = histogramMeta, histogramMeta
	s.mustStore(v2, bodyOf(t, v2, bucket, sum))
	bucket.samples[0].Timestamp++
	s.mustStore(v2, bodyOf(t, v2, bucket)) // says nothing new
	var families []segment.Metadata
	for _, b := range r.blocks() {
		families = append(families, b.Metadata...)
	}
	want := []segment.Metadata{{Family: "d", Type: 3, Help: "Time.", Unit: "seconds"}}
	if diff := cmp.Diff(want, families); diff != "" {
		t.Errorf("2.0, want -, got +:\n%s", diff)
	}
	req := &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{
		{Type: prompb.MetricMetadata_HISTOGRAM, MetricFamilyName: "d", Help: "Time.", Unit: "seconds"},
		{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "e", Help: "bad \xff"},
	}}
	b, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s.mustStore(v1, compress(b))
	want = []segment.Metadata{{Family: "e", Type: 1, Help: "bad \uFFFD"}}
	if diff := cmp.Diff(want, r.blocks()[2].Metadata); diff != "" {
		t.Errorf("1.0, want -, got +:\n%s", diff)
	}
}

// TestFamilyNames has families whose own names end like the suffixes of their kind:
// what says which is which is the kind of the series.
func TestFamilyNames(t *testing.T) {
	at := time.Now().UnixMilli()
	summary := &prompb.MetricMetadata{Type: prompb.MetricMetadata_SUMMARY, Help: "A summary."}
	histogram := &prompb.MetricMetadata{Type: prompb.MetricMetadata_HISTOGRAM, Help: "A histogram."}
	said := func(m *prompb.MetricMetadata, s ts) ts {
		s.metadata = m
		return s
	}
	native := ts{labels: []string{"__name__", "d_count"}, histograms: []prompb.Histogram{{Timestamp: at}}}
	for name, test := range map[string]struct {
		series []ts
		family string
	}{
		"quantiles":         {[]ts{said(summary, one(1, at, "__name__", "a_sum", "quantile", "0.5"))}, "a_sum"},
		"sum of quantiles":  {[]ts{said(summary, one(1, at, "__name__", "a_sum_sum"))}, "a_sum"},
		"sum":               {[]ts{said(summary, one(1, at, "__name__", "b_sum"))}, "b"},
		"buckets":           {[]ts{said(histogram, one(1, at, "__name__", "c_bucket_bucket", "le", "1"))}, "c_bucket"},
		"native histogram":  {[]ts{said(histogram, native)}, "d_count"},
		"count of classics": {[]ts{said(histogram, one(1, at, "__name__", "d_count"))}, "d"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, testConfig(t.TempDir()))
			r.sender().mustStore(v2, bodyOf(t, v2, test.series...))
			var families []string
			for family := range r.metadata() {
				families = append(families, family)
			}
			if diff := cmp.Diff([]string{test.family}, families); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// TestIdleSeries drops series at a rotation and has one of them come back.
func TestIdleSeries(t *testing.T) {
	c := testConfig(t.TempDir())
	c.SegmentSize, c.SeriesIdle = 1, time.Hour
	var ahead atomic.Int64
	r := start(t, c, func(f *Forwarder) {
		f.appender.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	s := r.sender()
	s.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "idle"), one(1, 5, "__name__", "busy")))
	ahead.Store(int64(50 * time.Minute))
	for i := range 20 { // a segment ends when its blocks take as much as its keyframe
		s.mustStore(v1, bodyOf(t, v1, one(1, int64(6+i), "__name__", "busy")))
	}
	ahead.Store(int64(70 * time.Minute))
	for i := range 20 {
		s.mustStore(v1, bodyOf(t, v1, one(1, int64(100+i), "__name__", "busy")))
	}
	s.mustStore(v1, bodyOf(t, v1, one(1, 200, "__name__", "idle")))
	blocks := r.blocks()
	last := blocks[len(blocks)-1]
	if last.Series.Len() != 1 || last.Series.Refs[0] != 3 {
		t.Errorf("the idle series came back as %v", last.Series)
	}
	for _, b := range blocks[1 : len(blocks)-1] {
		if b.Series.Len() > 0 {
			t.Errorf("block %d has new series %v", b.Sequence, b.Series)
		}
	}
	if n := r.appender.state.intern.slots.n; n != 2 {
		t.Errorf("%d series are known", n)
	}
}

// failing is a logStore whose writers fail on demand.
type failing struct {
	logStore
	appends, syncs, opens atomic.Bool
}

var errDisk = errors.New("no space left on device")

func (f *failing) open(r seglog.Restorer) (logWriter, error) {
	if f.opens.Load() {
		return nil, errDisk
	}
	w, err := f.logStore.open(r)
	return &failingWriter{w, f}, err
}

type failingWriter struct {
	logWriter
	f *failing
}

func (w *failingWriter) Append(b *segment.Block) (uint64, error) {
	if w.f.appends.Load() {
		return 0, errDisk
	}
	return w.logWriter.Append(b)
}

func (w *failingWriter) WaitDurable(sequence uint64) error {
	if w.f.syncs.Load() {
		return errDisk
	}
	return w.logWriter.WaitDurable(sequence)
}

func TestBrokenLog(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(*failing) *atomic.Bool
	}{
		{"write", func(f *failing) *atomic.Bool { return &f.appends }},
		{"sync", func(f *failing) *atomic.Bool { return &f.syncs }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testConfig(t.TempDir())
			f := &failing{}
			r := start(t, c, func(fw *Forwarder) {
				f.logStore = fw.appender.store
				fw.appender.store = f
				fw.appender.state.writer = &failingWriter{fw.appender.state.writer, f}
			})
			s := r.sender()
			s.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "before")))
			f.opens.Store(true)
			test.fault(f).Store(true)
			during := bodyOf(t, v1, one(1, 5, "__name__", "during"))
			for range 3 {
				v := s.send(v1, during)
				if v.GetCode() != linkv1.Code_CODE_UNAVAILABLE || !strings.Contains(strings.Join(v.GetErrors(), ""), errDisk.Error()) {
					t.Fatalf("verdict: %v", v)
				}
			}
			eventually(t, "not ready", func() bool { return r.Ready() != nil })
			test.fault(f).Store(false)
			f.opens.Store(false)
			eventually(t, "ready", func() bool { return r.Ready() == nil })
			s.mustStore(v1, during)
			s.mustStore(v1, bodyOf(t, v1, one(1, 6, "__name__", "before"), one(1, 6, "__name__", "during")))
			want := map[string]int{"__name__=before": 2, "__name__=during": 2}
			if diff := cmp.Diff(want, stored(r.blocks())); diff != "" {
				t.Errorf("stored, want -, got +:\n%s", diff)
			}
			r.stop()
			// What is on the disk is whole.
			again := start(t, c)
			if diff := cmp.Diff(want, stored(again.blocks())); diff != "" {
				t.Errorf("after a restart, want -, got +:\n%s", diff)
			}
		})
	}
}

// TestPipelined has many senders at once, with batches that are not answered
// one by one.
func TestPipelined(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	const senders, batches = 4, 100
	done := make(chan error, senders)
	for n := range senders {
		s := r.sender()
		var bodies [][]byte
		for i := range batches {
			bodies = append(bodies, bodyOf(t, v1, one(float64(i), int64(i), "__name__", "x", "sender", fmt.Sprint(n))))
		}
		go func() {
			for i, b := range bodies {
				batch := &linkv1.Batch{Id: uint64(i), Schema: v1, Body: b}
				if err := s.conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Batch{Batch: batch}}); err != nil {
					done <- err
					return
				}
			}
			seen := map[uint64]bool{}
			for range bodies {
				f, err := s.conn.Receive()
				if err != nil {
					done <- err
					return
				}
				if f.GetVerdict().GetCode() != ok || seen[f.GetVerdict().GetId()] {
					done <- fmt.Errorf("verdict %v", f.GetVerdict())
					return
				}
				seen[f.GetVerdict().GetId()] = true
			}
			done <- nil
		}()
	}
	for range senders {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	total := 0
	for _, n := range stored(r.blocks()) {
		total += n
	}
	if total != senders*batches {
		t.Errorf("%d samples stored", total)
	}
}

func TestStorageInUse(t *testing.T) {
	dir := t.TempDir()
	start(t, testConfig(dir))
	other, err := New(testConfig(dir), discard, nil)
	if !errors.Is(err, seglog.ErrLocked) {
		t.Errorf("error %v", err)
	}
	if other != nil {
		t.Error("a second forwarder on the same folder")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

func TestWindow(t *testing.T) {
	w := newRepeatWindow(3, 0)
	for i := range 5 {
		w.add(digest{byte(i)}, answer{place: place{sequence: uint64(i)}})
		w.add(digest{byte(i)}, answer{place: place{sequence: 99}})
	}
	for i := range 5 {
		a, ok := w.find(digest{byte(i)})
		if ok != (i >= 2) || ok && a.sequence != uint64(i) {
			t.Errorf("%d: %v %v", i, a, ok)
		}
	}
}
