package rpc

import (
	"context"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// GetLabelNames implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) GetLabelNames(ctx context.Context, req *connect.Request[metricsv1.GetLabelNamesRequest]) (*connect.Response[metricsv1.GetLabelNamesResponse], error) {
	if err := checkGetLabelNames(req.Msg); err != nil {
		return nil, err
	}
	names := newSmallest[struct{}](req.Msg.GetLimit(), answerRoom(ctx))
	err := s.eachLive(ctx, req.Msg.GetSelectors(), func(ls segment.Labels) error {
		for _, l := range ls {
			if err := names.add(l.Name, struct{}{}, stringSize(l.Name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.Refusals.Of(err)
	}
	sorted, _, truncated := names.sorted()
	return connect.NewResponse(&metricsv1.GetLabelNamesResponse{Names: sorted, Truncated: truncated}), nil
}

// GetLabelValues implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) GetLabelValues(ctx context.Context, req *connect.Request[metricsv1.GetLabelValuesRequest]) (*connect.Response[metricsv1.GetLabelValuesResponse], error) {
	if err := checkGetLabelValues(req.Msg); err != nil {
		return nil, err
	}
	values := newSmallest[struct{}](req.Msg.GetLimit(), answerRoom(ctx))
	err := s.eachLive(ctx, req.Msg.GetSelectors(), func(ls segment.Labels) error {
		v := selection.ValueOf(ls, req.Msg.GetName())
		if v == "" {
			return nil
		}
		return values.add(v, struct{}{}, stringSize(v))
	})
	if err != nil {
		return nil, s.Refusals.Of(err)
	}
	sorted, _, truncated := values.sorted()
	return connect.NewResponse(&metricsv1.GetLabelValuesResponse{Values: sorted, Truncated: truncated}), nil
}

// eachLive calls yield with the labels of each live series that is selected, in the
// call's turn. A selection whose values have to be tried takes its turn only after
// that.
func (s *Service) eachLive(ctx context.Context, selectors []string, yield func(segment.Labels) error) error {
	e := s.Evaluations.New(ctx, viewerOf(ctx))
	defer e.End()
	selected, err := e.Parse(selectors)
	if err != nil {
		return err
	}
	if err := s.Streams.Serving(); err != nil {
		return refusal.Unavailable(err, "")
	}
	if !selected.Scans {
		end, err := s.turn(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	for _, r := range s.Replicas.Serving() {
		found, err := r.Snapshot(e, &selected, s.Streams.LiveSince())
		if err != nil {
			return err
		}
		if err := s.eachOf(ctx, e, found, selected.Scans, yield); err != nil {
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
func (s *Service) eachOf(ctx context.Context, e *selection.Evaluation, found *replica.Snapshot, wait bool, yield func(segment.Labels) error) error {
	defer found.View.Release()
	if wait {
		if err := e.Grow(found.View.Pinned()); err != nil {
			return err
		}
		end, err := s.turn(ctx)
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
