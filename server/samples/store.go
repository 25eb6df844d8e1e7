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
	// Reached is the time, in ms, that all logs have come to by now where time goes on, nil
	// for none. A source that is not there has to have come to it, too.
	Reached *int64
	// LabelsOnly says that the samples of segments are not wanted. What is found may then
	// have none between these times, if it has some before and after.
	LabelsOnly bool
}

// Walk shows a visitor what a query finds. Its errors are those of limits, of ctx and of the
// visitor, and those that say that a log cannot be read.
func (s *Store) Walk(ctx context.Context, v selection.Viewer, q Query, to Visitor) error {
	e := s.Evaluations.New(ctx, v)
	defer e.End()
	r := reading{store: s, query: q, evaluation: e, selected: e.Select(q.Sets...), to: to}
	for _, log := range s.Replicas.Readable() {
		if err := r.read(log); err != nil {
			return err
		}
	}
	return nil
}

// Select returns the series that a query finds, with their samples. It has the hold grow
// with them. Its errors are those of Walk and of the hold.
func (s *Store) Select(ctx context.Context, v selection.Viewer, hold *limit.Hold, q Query) ([]*Series, error) {
	c := collecting{ctx: ctx, hold: hold}
	if err := s.Walk(ctx, v, q, &c); err != nil {
		return nil, err
	}
	return Merged(c.found), nil
}
