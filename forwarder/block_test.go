package forwarder

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// wide is a 2.0 request of so many series that each have so many labels, all but
// one of them the same.
func wide(t *testing.T, series, labels int) []byte {
	t.Helper()
	req := writev2.Request{Symbols: []string{"", "__name__", "i", "w"}}
	shared := []uint32{1, 3}
	for i := range labels - 2 {
		req.Symbols = append(req.Symbols, fmt.Sprintf("%x", i))
		shared = append(shared, uint32(len(req.Symbols)-1), 3)
	}
	for i := range series {
		req.Symbols = append(req.Symbols, fmt.Sprint(i))
		refs := append([]uint32{2, uint32(len(req.Symbols) - 1)}, shared...)
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{LabelsRefs: refs, Samples: []writev2.Sample{{Timestamp: 5}}})
	}
	b, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, b)
}

// reopened counts how often the log was given up.
func (r *running) reopened() float64 { return testutil.ToFloat64(r.in.metrics.reopened) }

// TestBlockIsFull sends what is within every other limit, and has more labels than
// a block: what there is room for is stored, the rest is refused, and the
// log goes on for others.
func TestBlockIsFull(t *testing.T) {
	c := testConfig(t.TempDir())
	labels := segment.MaxLabels/c.Limits.Series + 10
	r := start(t, c)
	s, neighbour := r.sender(), r.sender()
	neighbour.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "before")))
	s.post(v2, wide(t, c.Limits.Series, labels))
	for i := range 5 {
		neighbour.mustStore(v1, bodyOf(t, v1, one(1, int64(6+i), "__name__", "before")))
	}
	v := s.verdict()
	if v.GetCode() != invalid || v.GetSamplesWritten() == 0 || v.GetSamplesWritten()+v.GetRejected() != uint64(c.Limits.Series) ||
		!strings.Contains(v.GetErrors()[0], "(--limit.block-bytes)") {
		t.Errorf("verdict: %v", v)
	}
	if n := testutil.ToFloat64(r.in.metrics.overLimit.WithLabelValues("block-bytes")); n != float64(v.GetRejected()) {
		t.Errorf("%v series counted as refused, want %d", n, v.GetRejected())
	}
	if n := r.reopened(); n > 0 {
		t.Errorf("the log was opened again %v times", n)
	}
}

// refusing is a writer that has no room for one block.
type refusing struct {
	logWriter
	once atomic.Bool
}

func (w *refusing) Append(b *segment.Block) (uint64, error) {
	if w.once.CompareAndSwap(true, false) {
		return 0, fmt.Errorf("append: %w", segment.ErrTooLarge)
	}
	return w.logWriter.Append(b)
}

// TestNoRoomAfterAll has the writer find that a block is too large, which nothing
// should come to. The sender is told, the state is as it was before, and the log
// goes on.
func TestNoRoomAfterAll(t *testing.T) {
	w := &refusing{}
	c := testConfig(t.TempDir())
	r := start(t, c, func(f *Forwarder) { w.logWriter, f.appender.state.writer = f.appender.state.writer, w })
	s := r.sender()
	described := func(at int64, name string) ts {
		x := one(float64(at), at, "__name__", name)
		x.metadata = &prompb.MetricMetadata{Type: 1, Help: fmt.Sprint("after the first: ", at > 5)}
		return x
	}
	s.mustStore(v2, bodyOf(t, v2, described(5, "known")))
	w.once.Store(true)
	refused := bodyOf(t, v2, described(6, "known"), described(6, "new"))
	if v := s.send(v2, refused); v.GetCode() != linkv1.Code_CODE_TOO_LARGE || !strings.Contains(v.GetErrors()[0], "(--limit.block-bytes)") {
		t.Errorf("verdict: %v", v)
	}
	s.mustStore(v2, refused) // nothing of it is held to be stored
	s.mustStore(v2, bodyOf(t, v2, described(7, "known"), described(7, "new")))
	if n := r.reopened(); n > 0 {
		t.Errorf("the log was opened again %v times", n)
	}
	want := map[string]int{"__name__=known": 3, "__name__=new": 2}
	if diff := cmp.Diff(want, stored(r.blocks())); diff != "" {
		t.Errorf("stored, want -, got +:\n%s", diff)
	}
	families := 0
	for _, b := range r.blocks() {
		families += len(b.Metadata)
	}
	if families != 3 {
		t.Errorf("%d times metadata was stored, want 3", families)
	}
	r.stop()
	if diff := cmp.Diff(want, stored(start(t, c).blocks())); diff != "" {
		t.Errorf("after a restart, want -, got +:\n%s", diff)
	}
}

// unrotatable is a writer that cannot begin a segment, since the keyframe has no
// room.
type unrotatable struct {
	logWriter
	due atomic.Bool
	// within says that Append finds out, and not Rotate.
	within bool
}

var errRotation = fmt.Errorf("%w: keyframe: %w", seglog.ErrBroken, segment.ErrTooLarge)

func (w *unrotatable) RotationDue() bool { return w.due.Load() && !w.within }
func (w *unrotatable) Rotate() error     { return errRotation }
func (w *unrotatable) Append(b *segment.Block) (uint64, error) {
	if w.due.Load() {
		return 0, errRotation
	}
	return w.logWriter.Append(b)
}

// TestFailedRotationIsOurs has a rotation fail, for whatever reason: the request
// that met it is asked to come again, and is stored then.
func TestFailedRotationIsOurs(t *testing.T) {
	for _, within := range []bool{false, true} {
		t.Run(fmt.Sprintf("within Append is %t", within), func(t *testing.T) {
			w := &unrotatable{within: within}
			r := start(t, testConfig(t.TempDir()), func(f *Forwarder) {
				w.logWriter, f.appender.state.writer = f.appender.state.writer, w
			})
			s := r.sender()
			s.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "before")))
			w.due.Store(true)
			body := bodyOf(t, v1, one(1, 6, "__name__", "before"))
			if v := s.send(v1, body); v.GetCode() != linkv1.Code_CODE_UNAVAILABLE {
				t.Errorf("verdict: %v", v)
			}
			eventually(t, "the log is open again", func() bool { return r.Ready() == nil && r.reopened() == 1 })
			s.mustStore(v1, body)
		})
	}
}
