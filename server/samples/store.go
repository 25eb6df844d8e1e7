package samples

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/history"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// Store is the logs of a server.
type Store struct {
	Replicas    *replica.Set
	History     *history.Store
	Evaluations *selection.Evaluations
}

// Query is what is looked for.
type Query struct {
	// Sets of matchers: a series is found that any of them matches.
	Sets [][]*labels.Matcher
	// From and To are the timestamps between which samples are wanted, both included, in ms.
	From, To int64
	// LabelsOnly says that the samples of segments are not wanted. What is found may then
	// have none between these times, if it has some before and after.
	LabelsOnly bool
}

// Select returns the series that a query finds, with their samples. It has the hold grow
// with them. Its errors are those of limits and of ctx, and those that say that a log cannot
// be read.
func (s *Store) Select(ctx context.Context, v selection.Viewer, hold *limit.Hold, q Query) ([]*Series, error) {
	e := s.Evaluations.New(ctx, v)
	defer e.End()
	r := reading{ctx: ctx, store: s, query: q, hold: hold, evaluation: e, selected: e.Select(q.Sets...)}
	for _, log := range s.Replicas.Readable() {
		if err := r.read(log); err != nil {
			return nil, err
		}
	}
	return Merged(r.found), nil
}
