package samples

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// ExemplarSeries is the exemplars of a series, by timestamp.
type ExemplarSeries struct {
	Labels    labels.Labels
	Exemplars []exemplar.Exemplar
}

// Exemplars returns those in the windows of the series that any set of matchers matches,
// between two timestamps, both included, sorted by labels. The hold has them while they are
// collected.
func (s *Store) Exemplars(ctx context.Context, v selection.Viewer, held *limit.Hold, sets [][]*labels.Matcher, from, to int64) ([]ExemplarSeries, error) {
	evaluation := s.Evaluations.New(ctx, v)
	defer evaluation.End()
	selected := evaluation.Select(sets...)
	r := exemplarReading{from: from, to: to, held: held}
	for _, log := range s.Replicas.Serving() {
		if err := r.read(evaluation, log, &selected); err != nil {
			return nil, err
		}
	}
	return MergedExemplars(r.found), nil
}

// exemplarReading collects the exemplars of some series.
type exemplarReading struct {
	from, to int64
	held     *limit.Hold
	found    []ExemplarSeries
}

// exemplarBytes is what one takes besides its wire form.
const exemplarBytes = 100

func (r *exemplarReading) read(e *selection.Evaluation, log *replica.Replica, s *selection.Selection) error {
	recent, err := log.Recent(e, s)
	if err != nil {
		return err
	}
	defer recent.Release()
	var row segment.Labels
	var builder labels.ScratchBuilder
	for ref := range recent.From(0) {
		list, err := r.within(recent.Window.Exemplars(ref), &builder)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			continue
		}
		row, _ = recent.View.Labels(ref, row[:0])
		found := ExemplarSeries{labelsIn(&builder, row), list}
		if err := r.held.Grow(int64(SeriesBytes + found.Labels.ByteSize())); err != nil {
			return err
		}
		r.found = append(r.found, found)
	}
	return nil
}

// within decodes the exemplars of the time that is asked about.
func (r *exemplarReading) within(wire [][]byte, builder *labels.ScratchBuilder) (list []exemplar.Exemplar, err error) {
	for _, data := range wire {
		var m metricsv1.Exemplar
		if err := proto.Unmarshal(data, &m); err != nil {
			return nil, fmt.Errorf("decode an exemplar: %w", err)
		}
		if m.GetTimestamp() < r.from || m.GetTimestamp() > r.to {
			continue
		}
		builder.Reset()
		for _, l := range m.GetLabels() {
			builder.Add(l.GetName(), l.GetValue())
		}
		builder.Sort()
		list = append(list, exemplar.Exemplar{Labels: builder.Labels(), Value: m.GetValue(), Ts: m.GetTimestamp(), HasTs: true})
		if err := r.held.Grow(int64(exemplarBytes + len(data))); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// MergedExemplars sorts series by their labels, and makes one of those that have the same,
// with each of their exemplars once.
func MergedExemplars(found []ExemplarSeries) []ExemplarSeries {
	slices.SortStableFunc(found, func(a, b ExemplarSeries) int { return labels.Compare(a.Labels, b.Labels) })
	var all []ExemplarSeries
	for _, s := range found {
		if n := len(all); n > 0 && labels.Equal(all[n-1].Labels, s.Labels) {
			all[n-1].Exemplars = append(all[n-1].Exemplars, s.Exemplars...)
			continue
		}
		all = append(all, s)
	}
	for i := range all {
		list := all[i].Exemplars
		slices.SortStableFunc(list, func(a, b exemplar.Exemplar) int { return exemplar.Compare(a, b) })
		all[i].Exemplars = slices.CompactFunc(list, exemplar.Exemplar.Equals)
	}
	return all
}
