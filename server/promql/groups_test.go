package promql

import (
	"context"
	"hash/fnv"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// groupsSource is the series of several groups, as a router reads them.
type groupsSource []Source

func (g groupsSource) Select(ctx context.Context, v selection.Viewer, held *limit.Hold, q samples.Query) (all []*samples.Series, err error) {
	for _, one := range g {
		found, err := one.Select(ctx, v, held, q)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return samples.Merged(all), nil
}

func (groupsSource) Exemplars(context.Context, selection.Viewer, *limit.Hold, [][]*labels.Matcher, int64, int64) ([]samples.ExemplarSeries, error) {
	return nil, nil
}

// loadedGroups returns an engine on three groups that share samples out: most series are in
// one of them, and others move from one to the next at an instant.
func loadedGroups(t testing.TB, all []sampleOf) *Engine {
	t.Helper()
	const groups = 3
	var instant int64
	if len(all) > 0 {
		instant = all[len(all)/2].timestamp
	}
	groupOf := func(s *sampleOf) uint32 {
		h := fnv.New32a()
		_, _ = h.Write([]byte(s.labels))
		n := h.Sum32()
		if n%4 == 0 && s.timestamp >= instant {
			n++
		}
		return n % groups
	}
	var source groupsSource
	for g := range uint32(groups) {
		of := slices.DeleteFunc(slices.Clone(all), func(s sampleOf) bool { return groupOf(&s) != g })
		source = append(source, loaded(t, of, 2).shared.Source)
	}
	e := loaded(t, nil, 2)
	shared := e.shared
	shared.Source = source
	e = New(DefaultConfig(), shared)
	e.parser = parser.NewParser(testOptions)
	e.engine = testEngine(e.parser)
	return e
}

// Every expression that Prometheus tests its engine with results in the same on the series
// of several groups, bit by bit, as on lists of all samples.
func TestGroupsPrometheusTests(t *testing.T) {
	compared := 0
	for _, c := range corpora(t) {
		var all []sampleOf
		var ours *Engine
		for _, command := range c.commands {
			switch command := command.(type) {
			case clearing:
				all, ours = nil, nil
			case *load:
				all, ours = append(all, samplesOf(command)...), nil
			case evaluated:
				if ours == nil {
					ours = loadedGroups(t, all)
				}
				comparePlain(t, newNaive(all), ours, command)
				compared++
			}
		}
	}
	require.Greater(t, compared, 1000)
}
