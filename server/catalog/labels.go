package catalog

import (
	"context"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// GetLabelNames returns the label names of the live series that match.
func (c *Catalog) GetLabelNames(ctx context.Context, from call.Caller, req *metricsv1.GetLabelNamesRequest) (*metricsv1.GetLabelNamesResponse, error) {
	names := answer.NewSmallest[struct{}](req.GetLimit(), answer.Room(from.Room))
	err := c.eachLive(ctx, from, req.GetSelectors(), func(ls segment.Labels) error {
		for _, l := range ls {
			if err := names.Add(l.Name, struct{}{}, answer.StringSize(l.Name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sorted, _, truncated := names.Sorted()
	return &metricsv1.GetLabelNamesResponse{Names: sorted, Truncated: truncated}, nil
}

// GetLabelValues returns the values that a label has in them.
func (c *Catalog) GetLabelValues(ctx context.Context, from call.Caller, req *metricsv1.GetLabelValuesRequest) (*metricsv1.GetLabelValuesResponse, error) {
	values := answer.NewSmallest[struct{}](req.GetLimit(), answer.Room(from.Room))
	err := c.eachLive(ctx, from, req.GetSelectors(), func(ls segment.Labels) error {
		v := selection.ValueOf(ls, req.GetName())
		if v == "" {
			return nil
		}
		return values.Add(v, struct{}{}, answer.StringSize(v))
	})
	if err != nil {
		return nil, err
	}
	sorted, _, truncated := values.Sorted()
	return &metricsv1.GetLabelValuesResponse{Values: sorted, Truncated: truncated}, nil
}

// eachLive calls yield with the labels of each live series that is selected, in the
// call's turn. A selection whose values have to be tried takes its turn only after
// that.
func (c *Catalog) eachLive(ctx context.Context, from call.Caller, selectors []string, yield func(segment.Labels) error) error {
	e := c.Evaluations.New(ctx, from.Viewer())
	defer e.End()
	selected, err := e.Parse(selectors)
	if err != nil {
		return err
	}
	if err := c.Calls.Serving(); err != nil {
		return refusal.Unavailable(err, "")
	}
	if !selected.Scans {
		end, err := c.turn(ctx, from)
		if err != nil {
			return err
		}
		defer end()
	}
	for _, r := range c.Replicas.Serving() {
		found, err := r.Snapshot(e, &selected, c.LiveSince())
		if err != nil {
			return err
		}
		if err := c.eachOf(ctx, from, e, found, selected.Scans, yield); err != nil {
			return err
		}
	}
	return nil
}

// checkEvery is how many series pass before it is checked that the caller is still
// there.
const checkEvery = 1024

// eachOf calls yield with the labels of a snapshot's series, after waiting for the turn
// if the call does not have it. What the snapshot pins meanwhile counts for its
// evaluation.
func (c *Catalog) eachOf(ctx context.Context, from call.Caller, e *selection.Evaluation, found *replica.Snapshot, wait bool, yield func(segment.Labels) error) error {
	defer found.View.Release()
	if wait {
		if err := e.Grow(found.View.Pinned()); err != nil {
			return err
		}
		end, err := c.turn(ctx, from)
		if err != nil {
			return err
		}
		defer end()
	}
	var ls segment.Labels
	n := 0
	for ref := range found.Series() {
		if n++; n%checkEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ls, _ = found.View.Labels(ref, ls[:0])
		if err := yield(ls); err != nil {
			return err
		}
	}
	return nil
}
