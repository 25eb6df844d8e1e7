package storeapi

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/history"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/window"
)

// logWriter writes a log as a forwarder does.
type logWriter struct {
	t      testing.TB
	store  *seglog.Store
	writer *seglog.Writer
	head   *head.Head
	refs   map[string]uint64
	block  segment.Block
	added  []segment.Series
}

func newLogWriter(t testing.TB, dir string) *logWriter {
	t.Helper()
	o := seglog.DefaultOptions()
	o.RetentionTime, o.Sync, o.Now = 0, seglog.SyncNever, func() time.Time { return time.UnixMilli(0) }
	store, err := seglog.OpenStore(dir, o)
	require.NoError(t, err)
	w := &logWriter{t: t, store: store, head: head.New(), refs: map[string]uint64{}}
	w.writer, err = store.CreateWriter(w.head)
	require.NoError(t, err)
	return w
}

// ref returns the reference of a series.
func (w *logWriter) ref(ls labels.Labels) uint64 {
	ref, ok := w.refs[ls.String()]
	if !ok {
		ref = uint64(len(w.refs)) + 1
		w.refs[ls.String()] = ref
		var row segment.Labels
		ls.Range(func(l labels.Label) { row = append(row, segment.Label{Name: l.Name, Value: l.Value}) })
		w.added = append(w.added, segment.Series{Ref: ref, Labels: row})
	}
	return ref
}

func (w *logWriter) float(ls labels.Labels, t int64, v float64) {
	w.block.Samples.Add(segment.Sample{Ref: w.ref(ls), Timestamp: t, Value: v})
}

func (w *logWriter) histogram(ls labels.Labels, t int64, h *histogram.Histogram) {
	wire := prompb.FromIntHistogram(t, h)
	w.wire(ls, t, &wire)
}

func (w *logWriter) floatHistogram(ls labels.Labels, t int64, h *histogram.FloatHistogram) {
	wire := prompb.FromFloatHistogram(t, h)
	w.wire(ls, t, &wire)
}

func (w *logWriter) wire(ls labels.Labels, t int64, h *prompb.Histogram) {
	data, err := h.Marshal()
	require.NoError(w.t, err)
	w.block.AddHistogram(w.ref(ls), t, data)
}

// append appends the block, which is of a time.
func (w *logWriter) append(at int64) {
	w.t.Helper()
	w.block.Time, w.block.Series = at, segment.TableOf(w.added...)
	_, err := w.writer.Append(&w.block)
	require.NoError(w.t, err)
	require.NoError(w.t, w.head.ApplyBlock(&w.block))
	w.block, w.added = segment.Block{}, nil
}

func (w *logWriter) close() {
	w.t.Helper()
	require.NoError(w.t, w.writer.Close())
	require.NoError(w.t, w.store.Close())
}

// openStore returns what answers from the logs of a folder, the windows of which are of a
// span.
func openStore(t testing.TB, dir string, span time.Duration, external ...string) *Store {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	logs, err := seglog.OpenStore(dir, seglog.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, logs.Close()) })
	replicas, err := replica.Open(logs, window.NewMemory(window.Options{Span: span, Bytes: 1 << 30, Logger: logger}), logger)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, replicas.Close()) })
	c, l := promql.DefaultConfig(), selection.DefaultLimits()
	bytes := limit.NewBudget(promql.FlagBytes, "bytes", int64(c.Bytes), int64(c.Bytes))
	memory := limit.NewBudget("--limit.memory", "bytes", 1<<30, 1<<30)
	index, err := history.Open(logs, history.Options{Bytes: 1 << 30, Memory: memory, Decodes: limit.NewBudget("--limit.decodes", "turns", 4, 4), Logger: logger})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, index.Close()) })
	in := &samples.Store{
		Replicas: replicas, History: index,
		Evaluations: selection.NewEvaluations(l, limit.NewBudget(selection.FlagEvaluationBytes, "bytes", int64(l.EvaluationBytes), int64(l.EvaluationBytes))),
	}
	e, err := ParseExternal(external, "server")
	require.NoError(t, err)
	s := New(Shared{
		External: e, Samples: in,
		Engine: promql.New(c, promql.Shared{
			Source: in, Logger: logger, Evaluations: in.Evaluations,
			Bytes: bytes, Turns: limit.NewBudget(promql.FlagQueries, "turns", int64(c.Queries), int64(c.Queries)),
		}),
	})
	t.Cleanup(func() { require.Zero(t, bytes.Used(), "memory is held after the calls") })
	return s
}

// one is a series of an answer.
type one struct {
	labels  labels.Labels
	samples string
}

// ask returns the series of an answer, with the samples of the time that is asked about.
func ask(t testing.TB, s *Store, v selection.Viewer, req *thanos.SeriesRequest) ([]one, error) {
	t.Helper()
	all := []one{}
	err := s.series(t.Context(), v, req, func(envelopes []byte) error {
		all = append(all, decode(t, envelopes, req)...)
		return nil
	})
	return all, err
}

// decode returns what responses have.
func decode(t testing.TB, envelopes []byte, req *thanos.SeriesRequest) (all []one) {
	t.Helper()
	for len(envelopes) > 0 {
		n := call.PrefixSize + int(binary.BigEndian.Uint32(envelopes[1:call.PrefixSize]))
		var m thanos.SeriesResponse
		require.NoError(t, proto.Unmarshal(envelopes[call.PrefixSize:n], &m))
		require.Empty(t, m.GetSeries().ProtoReflect().GetUnknown())
		all = append(all, read(t, m.GetSeries(), req.GetMinTime(), req.GetMaxTime()))
		envelopes = envelopes[n:]
	}
	return all
}

// read reads a series. Its chunks have to be in order, and not to overlap.
func read(t testing.TB, from *thanos.Series, start, end int64) one {
	t.Helper()
	b := labels.NewScratchBuilder(0)
	name := ""
	for _, l := range from.GetLabels() {
		require.Less(t, name, l.GetName())
		name = l.GetName()
		b.Add(l.GetName(), l.GetValue())
	}
	s := one{labels: b.Labels()}
	var text strings.Builder
	last := int64(math.MinInt64)
	for _, c := range from.GetChunks() {
		require.Less(t, last, c.GetMinTime())
		data, err := chunkenc.FromData(chunkenc.EncXOR+chunkenc.Encoding(c.GetRaw().GetType()), c.GetRaw().GetData())
		require.NoError(t, err)
		it := data.Iterator(nil)
		n := 0
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if n == 0 {
				require.Equal(t, c.GetMinTime(), it.AtT())
			}
			n++
			last = it.AtT()
			if start <= last && last <= end {
				text.WriteString(textAt(it, kind))
			}
		}
		require.NoError(t, it.Err())
		require.Equal(t, c.GetMaxTime(), last)
	}
	s.samples = text.String()
	return s
}

// textAt is a sample as text, with all bits. Stale markers are the same whatever they are
// encoded as.
func textAt(it chunkenc.Iterator, kind chunkenc.ValueType) string {
	switch kind {
	case chunkenc.ValHistogram:
		t, h := it.AtHistogram(nil)
		if value.IsStaleNaN(h.Sum) {
			return fmt.Sprintf("%d stale\n", t)
		}
		return fmt.Sprintf("%d %x %v\n", t, math.Float64bits(h.Sum), h)
	case chunkenc.ValFloatHistogram:
		t, h := it.AtFloatHistogram(nil)
		if value.IsStaleNaN(h.Sum) {
			return fmt.Sprintf("%d stale\n", t)
		}
		return fmt.Sprintf("%d %x %v\n", t, math.Float64bits(h.Sum), h)
	}
	t, v := it.At()
	if value.IsStaleNaN(v) {
		return fmt.Sprintf("%d stale\n", t)
	}
	return fmt.Sprintf("%d %x\n", t, math.Float64bits(v))
}
