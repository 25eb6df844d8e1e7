package promql

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// Source is where the samples are that are evaluated: [samples.Store] for the logs of a
// server.
type Source interface {
	// Select returns the series that a query finds, sorted by labels, each once, with their
	// samples, which the hold has from then on.
	Select(context.Context, selection.Viewer, *limit.Hold, samples.Query) ([]*samples.Series, error)
	// Exemplars returns the recent ones between two timestamps, both included, of the series
	// that any set of matchers matches, sorted by labels.
	Exemplars(_ context.Context, _ selection.Viewer, _ *limit.Hold, sets [][]*labels.Matcher, from, to int64) ([]samples.ExemplarSeries, error)
}

// keeper is a [Source] that can keep what it found from step to step.
type keeper interface {
	Keep([]*labels.Matcher) *samples.Kept
}
