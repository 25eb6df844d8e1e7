package promql

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// Exemplars returns the recent ones of the series that the selectors of an expression match,
// between two timestamps, both included, sorted by labels.
func (e *Engine) Exemplars(ctx context.Context, v selection.Viewer, x *Expression, from, to int64) ([]samples.ExemplarSeries, error) {
	var sets [][]*labels.Matcher
	for _, s := range x.Selectors() {
		sets = append(sets, s.Matchers)
	}
	if len(sets) == 0 {
		return nil, nil
	}
	held := e.Hold(v)
	defer held.Release()
	return e.shared.Source.Exemplars(ctx, v, held, sets, from, to)
}
