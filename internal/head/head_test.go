package head_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// content is all that a head says of its series, in a comparable form.
type content struct {
	Sequence, NextRef uint64
	Labels            map[uint64]string
	Latest            map[uint64]string
	Metadata          []segment.Metadata
}

func contentOf(h *head.Head) content {
	c := content{h.Sequence(), h.NextRef(), map[uint64]string{}, map[uint64]string{}, h.Metadata()}
	h.Each(func(ref uint64, l *segment.Latest) bool {
		c.Latest[ref] = fmt.Sprintf("%d %d %x %x %v %d", l.Timestamp, l.StartTimestamp, math.Float64bits(l.Value), l.Histogram, l.None, l.Written)
		return true
	})
	for ref := range c.Latest {
		ls, _ := h.Labels(ref, nil)
		c.Labels[ref] = fmt.Sprint(ls)
	}
	return c
}

func series(ref uint64, pairs ...string) segment.Series {
	s := segment.Series{Ref: ref}
	for i := 0; i < len(pairs); i += 2 {
		s.Labels = append(s.Labels, segment.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return s
}

func floats(refs []uint64, timestamp int64, value float64) segment.Samples {
	var s segment.Samples
	for _, ref := range refs {
		s.Add(segment.Sample{Ref: ref, Timestamp: timestamp, Value: value})
	}
	return s
}

func apply(t *testing.T, h *head.Head, blocks ...*segment.Block) {
	t.Helper()
	for _, b := range blocks {
		if err := h.ApplyBlock(b); err != nil {
			t.Fatal(err)
		}
	}
}

func keyframe(t *testing.T, from, to *head.Head) {
	t.Helper()
	if err := from.Keyframe(to.ApplyKeyframe); err != nil {
		t.Fatal(err)
	}
}

func TestLatest(t *testing.T) {
	stale := math.Float64frombits(0x7ff0000000000002)
	for _, test := range []struct {
		name   string
		blocks []*segment.Block
		want   segment.Latest
	}{
		{"no sample yet", nil, segment.Latest{None: true, Written: 1}},
		{"a float", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 5, 2)},
		}, segment.Latest{Timestamp: 5, Value: 2, Written: 9}},
		{"a newer one", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 5, 2)},
			{Time: 10, Samples: floats([]uint64{1}, 6, 3)},
		}, segment.Latest{Timestamp: 6, Value: 3, Written: 10}},
		{"an older one is written, and not the latest", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 5, 2)},
			{Time: 10, Samples: floats([]uint64{1}, 4, 3)},
		}, segment.Latest{Timestamp: 5, Value: 2, Written: 10}},
		{"an older histogram is written, and not the latest", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 5, 2)},
			{Time: 10, Histograms: []segment.Histogram{{Ref: 1, Timestamp: 4, Data: []byte("h")}}},
		}, segment.Latest{Timestamp: 5, Value: 2, Written: 10}},
		{"an older float is written, and a histogram the latest", []*segment.Block{
			{Time: 9, Histograms: []segment.Histogram{{Ref: 1, Timestamp: 5, Data: []byte("h")}}},
			{Time: 10, Samples: floats([]uint64{1}, 4, 3)},
		}, segment.Latest{Timestamp: 5, Histogram: []byte("h"), Written: 10}},
		{"one from the future", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 5, 2)},
			{Time: 10, Samples: floats([]uint64{1}, 10+head.ClockSkew+1, 3)},
		}, segment.Latest{Timestamp: 10 + head.ClockSkew + 1, Value: 3, Written: 10}},
		{"what comes after one from the future", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 10+head.ClockSkew+1, 2)},
			{Time: 10, Samples: floats([]uint64{1}, 4, 3)},
		}, segment.Latest{Timestamp: 4, Value: 3, Written: 10}},
		{"a histogram that comes after one from the future", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 10+head.ClockSkew+1, 2)},
			{Time: 10, Histograms: []segment.Histogram{{Ref: 1, Timestamp: 4, Data: []byte("h")}}},
		}, segment.Latest{Timestamp: 4, Histogram: []byte("h"), Written: 10}},
		{"in one block with one from the future", []*segment.Block{
			{Time: 9, Samples: samplesOf(
				segment.Sample{Ref: 1, Timestamp: 9 + head.ClockSkew + 2, Value: 1}, segment.Sample{Ref: 1, Timestamp: 9, Value: 2},
				segment.Sample{Ref: 1, Timestamp: 8, Value: 3})},
		}, segment.Latest{Timestamp: 9, Value: 2, Written: 9}},
		{"no further ahead than clocks may differ", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 10+head.ClockSkew, 2)},
			{Time: 10, Samples: floats([]uint64{1}, 4, 3)},
		}, segment.Latest{Timestamp: 10 + head.ClockSkew, Value: 2, Written: 10}},
		{"the future has come", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 10+head.ClockSkew+1, 2)},
			{Time: 11, Samples: floats([]uint64{1}, 4, 3)},
		}, segment.Latest{Timestamp: 10 + head.ClockSkew + 1, Value: 2, Written: 11}},
		{"the end of time", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, math.MaxInt64, 2)},
			{Time: 10, Samples: floats([]uint64{1}, math.MinInt64, 3)},
		}, segment.Latest{Timestamp: math.MinInt64, Value: 3, Written: 10}},
		{"a stale marker from the future", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 10+head.ClockSkew+1, stale)},
			{Time: 10, Samples: floats([]uint64{1}, 10, 3)},
		}, segment.Latest{Timestamp: 10, Value: 3, Written: 10}},
		{"another value at the same time counts", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 5, 2)},
			{Time: 10, Samples: floats([]uint64{1}, 5, 3)},
		}, segment.Latest{Timestamp: 5, Value: 3, Written: 10}},
		{"before the epoch", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, -5, 2)},
		}, segment.Latest{Timestamp: -5, Value: 2, Written: 9}},
		{"stale", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 5, stale)},
		}, segment.Latest{Timestamp: 5, Value: stale, Written: 9}},
		{"a start timestamp", []*segment.Block{
			{Time: 9, Samples: samplesOf(segment.Sample{Ref: 1, Timestamp: 5, Value: 1, StartTimestamp: 3})},
		}, segment.Latest{Timestamp: 5, StartTimestamp: 3, Value: 1, Written: 9}},
		{"a start timestamp does not stick", []*segment.Block{
			{Time: 9, Samples: samplesOf(segment.Sample{Ref: 1, Timestamp: 5, Value: 1, StartTimestamp: 3})},
			{Time: 10, Samples: floats([]uint64{1}, 6, 2)},
		}, segment.Latest{Timestamp: 6, Value: 2, Written: 10}},
		{"a histogram", []*segment.Block{
			{Time: 9, Samples: floats([]uint64{1}, 5, 2), Histograms: []segment.Histogram{{Ref: 1, Timestamp: 6, After: 1, Data: []byte("h")}}},
		}, segment.Latest{Timestamp: 6, Histogram: []byte("h"), Written: 9}},
		{"a float after a histogram", []*segment.Block{
			{Time: 9, Histograms: []segment.Histogram{{Ref: 1, Timestamp: 6, Data: []byte("h")}}},
			{Time: 10, Samples: floats([]uint64{1}, 7, 2)},
		}, segment.Latest{Timestamp: 7, Value: 2, Written: 10}},
		{"a float after a histogram of the same time, in a block", []*segment.Block{
			{Time: 9, Histograms: []segment.Histogram{{Ref: 1, Timestamp: 6, Data: []byte("h")}}, Samples: floats([]uint64{1}, 6, 2)},
		}, segment.Latest{Timestamp: 6, Value: 2, Written: 9}},
		{"a histogram after a float of the same time, in a block", []*segment.Block{
			{Time: 9, Histograms: []segment.Histogram{{Ref: 1, Timestamp: 6, After: 1, Data: []byte("h")}}, Samples: floats([]uint64{1}, 6, 2)},
		}, segment.Latest{Timestamp: 6, Histogram: []byte("h"), Written: 9}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := head.New()
			apply(t, h, &segment.Block{Sequence: 1, Time: 1, Series: segment.TableOf(series(1, "__name__", "up"))})
			for i, b := range test.blocks {
				b.Sequence = uint64(i) + 2
				apply(t, h, b)
			}
			got, ok := h.Latest(1)
			if diff := cmp.Diff(test.want, got, bits); !ok || diff != "" {
				t.Errorf("latest, want -, got +:\n%s", diff)
			}
			again := head.New()
			keyframe(t, h, again)
			if diff := cmp.Diff(contentOf(h), contentOf(again)); diff != "" {
				t.Errorf("rebuilt from its keyframe, want -, got +:\n%s", diff)
			}
		})
	}
}

var bits = cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })

func TestLabelsAreTimeSeriesBytes(t *testing.T) {
	h := head.New()
	want := series(1, "__name__", "up", "instance", "a:1", "job", "node")
	apply(t, h, &segment.Block{Sequence: 1, Series: segment.TableOf(want)})

	var got metricsv1.TimeSeries
	if err := proto.Unmarshal(h.AppendLabels(nil, 1), &got); err != nil {
		t.Fatal(err)
	}
	var labels segment.Labels
	for _, l := range got.GetLabels() {
		labels = append(labels, segment.Label{Name: l.GetName(), Value: l.GetValue()})
	}
	if diff := cmp.Diff(want.Labels, labels); diff != "" {
		t.Error(diff)
	}
	if b := h.AppendLabels([]byte("x"), 2); string(b) != "x" {
		t.Errorf("labels of an unknown series: %q", b)
	}
}

func TestErrors(t *testing.T) {
	known := &segment.Block{Sequence: 1, Series: segment.TableOf(series(7, "__name__", "up"))}
	for _, test := range []struct {
		name  string
		apply func(*head.Head) error
	}{
		{"sample of an unknown series", func(h *head.Head) error {
			return h.ApplyBlock(&segment.Block{Sequence: 2, Samples: floats([]uint64{8}, 1, 1)})
		}},
		{"histogram of an unknown series", func(h *head.Head) error {
			return h.ApplyBlock(&segment.Block{Sequence: 2, Histograms: []segment.Histogram{{Ref: 8}}})
		}},
		{"reference given twice", func(h *head.Head) error {
			return h.ApplyBlock(&segment.Block{Sequence: 2, Series: segment.TableOf(series(7, "a", "b"))})
		}},
		{"reference beyond all bounds", func(h *head.Head) error {
			return h.ApplyBlock(&segment.Block{Sequence: 2, Series: segment.TableOf(series(1<<62, "a", "b"))})
		}},
		{"keyframe of the past", func(h *head.Head) error {
			return h.ApplyKeyframe(&segment.Keyframe{Sequence: 0, NextRef: 1, Last: true})
		}},
		{"keyframe whose references fall", func(h *head.Head) error {
			return h.ApplyKeyframe(&segment.Keyframe{Sequence: 1, NextRef: 10, Last: true,
				Series: segment.TableOf(series(8, "a", "b"), series(8, "a", "c")), Latest: make([]segment.Latest, 2)})
		}},
		{"keyframe with a reference that was not given", func(h *head.Head) error {
			return h.ApplyKeyframe(&segment.Keyframe{Sequence: 1, NextRef: 8, Last: true,
				Series: segment.TableOf(series(8, "a", "b")), Latest: make([]segment.Latest, 1)})
		}},
		{"keyframe without samples", func(h *head.Head) error {
			return h.ApplyKeyframe(&segment.Keyframe{Sequence: 1, NextRef: 9, Series: segment.TableOf(series(8, "a", "b"))})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := head.New()
			apply(t, h, known)
			if err := test.apply(h); err == nil {
				t.Error("no error")
			}
		})
	}
}

// recorder is an observer that keeps what it was told.
type recorder struct {
	head   *head.Head
	events []string
}

func (r *recorder) SeriesAdded(ref uint64, labels []uint32) {
	r.events = append(r.events, fmt.Sprintf("+%d %s", ref, r.head.Label(labels[0]).Value))
}
func (r *recorder) Renumbered()              { r.events = append(r.events, "renumbered") }
func (r *recorder) SeriesDropped(ref uint64) { r.events = append(r.events, fmt.Sprintf("-%d", ref)) }

func TestExpiry(t *testing.T) {
	h := head.New()
	var seen recorder
	replica := head.NewObserved(&seen)
	seen.head = replica
	blocks := []*segment.Block{
		{Sequence: 1, Time: 100, Series: segment.TableOf(series(1, "__name__", "idle"), series(2, "__name__", "busy"), series(3, "__name__", "again")),
			Samples: floats([]uint64{1, 2, 3}, 100, 1)},
		{Sequence: 2, Time: 200, Samples: floats([]uint64{2}, 200, 1)},
	}
	apply(t, h, blocks...)
	apply(t, replica, blocks...)

	h.Expire(150, nil)
	late := &segment.Block{Sequence: 3, Time: 300, Samples: floats([]uint64{3}, 300, 1)}
	apply(t, h, late)
	apply(t, replica, late)
	keyframe(t, h, replica)

	for name, h := range map[string]*head.Head{"writer": h, "replica": replica} {
		if _, ok := h.Latest(1); ok || h.Len() != 2 || h.NextRef() != 4 {
			t.Errorf("%s keeps %d series, series 1 among them: %v", name, h.Len(), ok)
		}
	}
	if diff := cmp.Diff(contentOf(h), contentOf(replica)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"+1 idle", "+2 busy", "+3 again", "-1"}, seen.events); diff != "" {
		t.Error(diff)
	}
}

// TestChurn drops and adds series for a long time, with a keyframe now and
// then: the replica that follows must stay equal, and so must one that starts
// from the keyframe.
func TestChurn(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	h, replica := head.New(), head.New()
	var live []uint64
	next := uint64(1)
	for seq := uint64(1); seq <= 400; seq++ {
		b := &segment.Block{Sequence: seq, Time: int64(seq)}
		var added []segment.Series
		for range random.IntN(200) {
			added = append(added, series(next, "__name__", "m", "pod", fmt.Sprint("pod-", next)))
			live = append(live, next)
			next++
		}
		b.Series = segment.TableOf(added...)
		if n := len(live) - 500; n > 0 {
			live = live[n:]
		}
		b.Samples = floats(live, int64(seq), float64(random.IntN(9)))
		b.Metadata = []segment.Metadata{{Family: fmt.Sprint("m", seq%7), Help: fmt.Sprint(seq)}}
		apply(t, h, b)
		apply(t, replica, b)
		if seq%20 == 0 {
			h.Expire(int64(seq)-5, nil)
			fresh := head.New()
			if err := h.Keyframe(func(k *segment.Keyframe) error {
				if err := fresh.ApplyKeyframe(k); err != nil {
					return err
				}
				return replica.ApplyKeyframe(k)
			}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(contentOf(h), contentOf(replica)); diff != "" {
				t.Fatalf("replica at %d:\n%s", seq, diff)
			}
			if diff := cmp.Diff(contentOf(h), contentOf(fresh), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("fresh replica at %d:\n%s", seq, diff)
			}
		}
	}
	if h.Len() > 2000 {
		t.Errorf("%d series are left", h.Len())
	}
}

// TestViewIsConsistent reads while blocks are applied that always write the
// same value to all series: a view must never show two values.
func TestViewIsConsistent(t *testing.T) {
	h := head.New()
	refs := []uint64{1, 2, 3, 2000}
	apply(t, h, &segment.Block{Sequence: 1, Series: segment.TableOf(
		series(1, "a", "1"), series(2, "a", "2"), series(3, "a", "3"), series(2000, "a", "4"),
	), Samples: floats(refs, 1, 1)})

	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				v := h.View()
				for _, ref := range refs {
					if l, ok := v.Latest(ref); !ok || l.Value != float64(v.Sequence()) {
						t.Errorf("series %d has %v at %d", ref, l.Value, v.Sequence())
						return
					}
				}
				if !bytes.Equal(v.AppendLabels(nil, 3), h.AppendLabels(nil, 3)) {
					t.Error("view and head differ in labels")
				}
				v.Release()
				v.Release()
			}
		})
	}
	for seq := uint64(2); seq < 3000; seq++ {
		apply(t, h, &segment.Block{Sequence: seq, Samples: floats(refs, int64(seq), float64(seq))})
	}
	close(done)
	readers.Wait()
}

// TestViewStays takes a view before every kind of change, and looks at it after
// all of them.
func TestViewStays(t *testing.T) {
	h := head.New()
	type taken struct {
		view *head.View
		was  map[uint64]segment.Latest
		wire map[uint64]string
	}
	var views []taken
	take := func() {
		v := taken{h.View(), map[uint64]segment.Latest{}, map[uint64]string{}}
		h.Each(func(ref uint64, l *segment.Latest) bool {
			v.was[ref] = *l
			return true
		})
		for ref := range v.was {
			v.wire[ref] = string(h.AppendLabels(nil, ref))
		}
		views = append(views, v)
	}
	seq := uint64(0)
	block := func(b *segment.Block) {
		seq++
		b.Sequence, b.Time = seq, int64(seq)
		take()
		apply(t, h, b)
	}
	block(&segment.Block{Series: segment.TableOf(series(1, "a", "1"), series(2, "a", "2"), series(3, "a", "3"), series(5000, "a", "4"))})
	block(&segment.Block{Samples: floats([]uint64{1, 2}, 1, 1)})
	block(&segment.Block{Samples: samplesOf(segment.Sample{Ref: 1, Timestamp: 2, Value: 2, StartTimestamp: 1})})
	block(&segment.Block{Histograms: []segment.Histogram{{Ref: 2, Timestamp: 2, Data: []byte("x")}}})
	block(&segment.Block{Samples: samplesOf(segment.Sample{Ref: 1, Timestamp: 3, Value: 2, StartTimestamp: 2})})
	block(&segment.Block{Samples: floats([]uint64{2, 5000}, 3, 3)})
	take()
	keep := &segment.Keyframe{Sequence: seq, NextRef: 5001, Last: true, Series: segment.TableOf(series(5000, "a", "4")), Latest: []segment.Latest{{Value: 9, Timestamp: 9}}}
	if err := h.ApplyKeyframe(keep); err != nil { // drops three of four, and makes a new store of labels
		t.Fatal(err)
	}
	block(&segment.Block{Series: segment.TableOf(series(5001, "b", "5")), Samples: floats([]uint64{5001}, 4, 4)})
	for i, v := range views {
		got, wire := map[uint64]segment.Latest{}, map[uint64]string{}
		v.view.Each(0, func(ref uint64, l *segment.Latest) bool {
			got[ref] = *l
			wire[ref] = string(v.view.AppendLabels(nil, ref))
			return true
		})
		if diff := cmp.Diff(v.was, got); diff != "" {
			t.Errorf("view %d: %s", i, diff)
		}
		if diff := cmp.Diff(v.wire, wire); diff != "" {
			t.Errorf("view %d: %s", i, diff)
		}
		if _, ok := v.view.Latest(99); ok {
			t.Error("a series that is not there has a sample")
		}
		v.view.Release()
	}
}

func TestLargeKeyframe(t *testing.T) {
	h := head.New()
	const n = 40000
	b := &segment.Block{Sequence: 1, Time: 5}
	var added []segment.Series
	for ref := uint64(1); ref <= n; ref++ {
		added = append(added, series(ref, "__name__", "m", "i", fmt.Sprint(ref)))
		b.Samples.Add(segment.Sample{Ref: ref, Timestamp: 5, Value: float64(ref)})
	}
	b.Series = segment.TableOf(added...)
	apply(t, h, b)
	chunks := 0
	again := head.New()
	if err := h.Keyframe(func(k *segment.Keyframe) error {
		chunks++
		return again.ApplyKeyframe(k)
	}); err != nil {
		t.Fatal(err)
	}
	if chunks < 2 || again.Len() != n {
		t.Errorf("%d chunks with %d series", chunks, again.Len())
	}
	if diff := cmp.Diff(contentOf(h), contentOf(again)); diff != "" {
		t.Error(diff[:min(len(diff), 1000)])
	}
}

// BenchmarkApply measures blocks of 2000 known series.
func BenchmarkApply(b *testing.B) {
	h := head.New()
	var added []segment.Series
	var refs []uint64
	for ref := uint64(1); ref <= 100000; ref++ {
		added = append(added, series(ref, "__name__", "m", "i", fmt.Sprint(ref)))
		refs = append(refs, ref)
	}
	first := &segment.Block{Sequence: 1, Series: segment.TableOf(added...)}
	if err := h.ApplyBlock(first); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	next := &segment.Block{Sequence: 1, Samples: floats(refs[:2000], 1, 1)}
	for b.Loop() {
		next.Sequence++
		next.Samples.Refs[0].First = refs[int(next.Sequence)%50*2000]
		next.Samples.Times[0].Time++
		if err := h.ApplyBlock(next); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2000*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}

// samplesOf returns samples in this order.
func samplesOf(samples ...segment.Sample) (s segment.Samples) {
	for _, x := range samples {
		s.Add(x)
	}
	return s
}

func TestLabelNumbers(t *testing.T) {
	h := head.New()
	apply(t, h, &segment.Block{Sequence: 1, Series: segment.TableOf(
		series(1, "__name__", "up", "job", "a"), series(2, "__name__", "up", "job", "b"), series(5, "job", "a"))})
	v := h.View()
	defer v.Release()
	wires := v.LabelWires()
	for ref := range uint64(8) {
		want, _ := v.Labels(ref, nil)
		var got segment.Labels
		for _, number := range v.LabelNumbers(nil, ref) {
			label := head.ParseLabel(wires[number])
			if wire := string(segment.AppendLabel(nil, label.Name, label.Value)); wire != wires[number] {
				t.Errorf("label %d is %q, not %q", number, wires[number], wire)
			}
			got = append(got, label)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("series %d: %s", ref, diff)
		}
	}
}
