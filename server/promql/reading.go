package promql

import (
	"context"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// reading is what one evaluation reads of the logs.
type reading struct {
	ctx     context.Context
	engine  *Engine
	options Options
	bytes   *limit.Hold
}

func (e *Engine) newReading(ctx context.Context, o Options) *reading {
	return &reading{ctx: ctx, engine: e, options: o, bytes: e.shared.Bytes.Hold(o.Viewer.Peer).With(o.Viewer.Memory)}
}

func (r *reading) close() { r.bytes.Release() }

// Querier implements [storage.Queryable].
func (r *reading) Querier(from, to int64) (storage.Querier, error) { return &querier{r, from, to}, nil }

// querier reads a range of time.
type querier struct {
	*reading
	from, to int64
}

// Select implements [storage.Querier].
func (q *querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	from, to := q.from, q.to
	if hints != nil {
		from, to = hints.Start, hints.End
	}
	found, err := q.find(from, to, matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	return &seriesSet{series: found, at: -1}
}

// find returns the series that any set of matchers matches, sorted by labels.
func (r *reading) find(from, to int64, sets ...[]*labels.Matcher) ([]storage.Series, error) {
	e := r.engine.shared.Evaluations.New(r.ctx, r.options.Viewer)
	defer e.End()
	selected := e.Select(sets...)
	var found []storage.Series
	seen := map[string]bool{}
	for _, log := range r.engine.shared.Replicas.Serving() {
		if err := r.latest(e, log, &selected, from, to, seen, &found); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return found, nil
}

// latest adds the latest samples of the series of a log.
func (r *reading) latest(e *selection.Evaluation, log *replica.Replica, s *selection.Selection, from, to int64, seen map[string]bool, found *[]storage.Series) error {
	snapshot, err := log.Snapshot(e, s, math.MinInt64)
	if err != nil {
		return err
	}
	defer snapshot.View.Release()
	var row segment.Labels
	builder := labels.NewScratchBuilder(0)
	for ref, l := range snapshot.Series() {
		if l.Histogram != nil || l.Timestamp < from || l.Timestamp > to {
			continue
		}
		row, _ = snapshot.View.Labels(ref, row[:0])
		builder.Reset()
		for _, label := range row {
			builder.Add(label.Name, label.Value)
		}
		ls := builder.Labels()
		if seen[ls.String()] {
			continue
		}
		seen[ls.String()] = true
		*found = append(*found, storage.NewListSeries(ls, []chunks.Sample{floatSample{l.Timestamp, l.Value}}))
	}
	return nil
}

// floatSample is one of a series.
type floatSample struct {
	timestamp int64
	value     float64
}

func (s floatSample) T() int64                      { return s.timestamp }
func (s floatSample) ST() int64                     { return 0 }
func (s floatSample) F() float64                    { return s.value }
func (s floatSample) H() *histogram.Histogram       { return nil }
func (s floatSample) FH() *histogram.FloatHistogram { return nil }
func (s floatSample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s floatSample) Copy() chunks.Sample           { return s }

// LabelValues implements [storage.Querier]. The engine does not ask for them.
func (q *querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// LabelNames implements [storage.Querier]. The engine does not ask for them.
func (q *querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Close implements [storage.Querier]. What was read is held until the evaluation ends.
func (q *querier) Close() error { return nil }

// seriesSet is series in order.
type seriesSet struct {
	series []storage.Series
	at     int
}

// Next implements [storage.SeriesSet].
func (s *seriesSet) Next() bool { s.at++; return s.at < len(s.series) }

// At implements [storage.SeriesSet].
func (s *seriesSet) At() storage.Series { return s.series[s.at] }

// Err implements [storage.SeriesSet].
func (s *seriesSet) Err() error { return nil }

// Warnings implements [storage.SeriesSet].
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
