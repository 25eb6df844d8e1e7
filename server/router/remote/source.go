package remote

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/stored"
)

// Source is the series of all groups. It implements promql.Source.
type Source struct {
	Groups      Groups
	Evaluations *selection.Evaluations
	// Timeout is how long a group may be away before what needs it fails.
	Timeout time.Duration
}

// Select implements promql.Source.
func (s *Source) Select(ctx context.Context, v selection.Viewer, hold *limit.Hold, q samples.Query) ([]*samples.Series, error) {
	request := &queryv1.ReadSeriesRequest{MinTime: q.From, MaxTime: q.To, Reached: q.Reached}
	if q.LabelsOnly {
		request.Content = queryv1.ReadSeriesRequest_CONTENT_LABELS
	}
	all, err := s.read(ctx, hold, q.Sets, request)
	if err != nil {
		return nil, err
	}
	var found []*samples.Series
	err = s.visible(ctx, v, func(sees func(labels.Labels) (bool, error)) error {
		for _, d := range all {
			for _, one := range d.Series {
				ok, err := sees(one.Labels)
				if err != nil {
					return err
				}
				if ok {
					found = append(found, one)
				}
			}
		}
		return nil
	})
	return samples.Merged(found), err
}

// Exemplars implements promql.Source.
func (s *Source) Exemplars(ctx context.Context, v selection.Viewer, hold *limit.Hold, sets [][]*labels.Matcher, from, to int64) ([]samples.ExemplarSeries, error) {
	all, err := s.read(ctx, hold, sets, &queryv1.ReadSeriesRequest{MinTime: from, MaxTime: to, Content: queryv1.ReadSeriesRequest_CONTENT_EXEMPLARS})
	if err != nil {
		return nil, err
	}
	var found []samples.ExemplarSeries
	err = s.visible(ctx, v, func(sees func(labels.Labels) (bool, error)) error {
		for _, d := range all {
			for _, one := range d.Exemplars {
				ok, err := sees(one.Labels)
				if err != nil {
					return err
				}
				if ok {
					found = append(found, one)
				}
			}
		}
		return nil
	})
	return samples.MergedExemplars(found), err
}

// visible has a function look at series, and tells it which of them a viewer may see.
func (s *Source) visible(ctx context.Context, v selection.Viewer, look func(sees func(labels.Labels) (bool, error)) error) error {
	if v.Allowed == nil {
		return look(func(labels.Labels) (bool, error) { return true, nil })
	}
	e := s.Evaluations.New(ctx, v)
	defer e.End()
	allowed := e.Select()
	var row segment.Labels
	return look(func(ls labels.Labels) (bool, error) {
		row = row[:0]
		ls.Range(func(l labels.Label) { row = append(row, segment.Label{Name: l.Name, Value: l.Value}) })
		if err := e.StepSeries(&allowed, row); err != nil {
			return false, err
		}
		return allowed.Matches(row), nil
	})
}

// mostSelectors are in one request.
const mostSelectors = 64

// read reads from all groups at the same time, and returns what each has, in the order of
// their names.
func (s *Source) read(ctx context.Context, hold *limit.Hold, sets [][]*labels.Matcher, request *queryv1.ReadSeriesRequest) ([]*stored.Decoder, error) {
	var all []*stored.Decoder
	texts := textsOf(sets)
	for {
		n := min(len(texts), mostSelectors)
		request.Selectors, texts = texts[:n], texts[n:]
		found, err := s.readOnce(ctx, hold, request)
		if err != nil {
			return nil, err
		}
		if all = append(all, found...); len(texts) == 0 {
			return all, nil
		}
	}
}

func (s *Source) readOnce(ctx context.Context, hold *limit.Hold, request *queryv1.ReadSeriesRequest) ([]*stored.Decoder, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	groups, _ := s.Groups.Groups()
	found := make([]*stored.Decoder, len(groups))
	shared := sharedHold{hold: hold}
	var wait sync.WaitGroup
	for i, g := range groups {
		wait.Go(func() {
			var err error
			if found[i], err = s.readGroup(ctx, g, &shared, request); err != nil {
				cancel(err) // The first of several counts.
			}
		})
	}
	wait.Wait()
	return found, context.Cause(ctx)
}

// readGroup reads from a group.
func (s *Source) readGroup(ctx context.Context, g Group, hold *sharedHold, request *queryv1.ReadSeriesRequest) (*stored.Decoder, error) {
	r := reading{hold: hold}
	err := attempt(ctx, g, s.Timeout, queryv1connect.QueryServiceReadSeriesProcedure, request, &r)
	return &r.Decoder, err
}

// reading is what came of a group.
type reading struct {
	stored.Decoder
	hold *sharedHold
	held int64
}

func (r *reading) receive(wire []byte) error {
	n, err := r.Response(wire)
	if err != nil {
		return err
	}
	if err := r.hold.grow(n); err != nil {
		return err
	}
	r.held += n
	return nil
}

func (r *reading) complete() bool { return r.Ended }

func (r *reading) again() {
	_ = r.hold.grow(-r.held)
	*r = reading{hold: r.hold}
}

// sharedHold is one that several goroutines have grow.
type sharedHold struct {
	mu   sync.Mutex
	hold *limit.Hold
}

func (h *sharedHold) grow(n int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hold.Grow(n)
}

// textsOf returns selectors of sets of matchers.
func textsOf(sets [][]*labels.Matcher) []string {
	texts := make([]string, len(sets))
	for i, set := range sets {
		texts[i] = selection.Selector(set).String()
	}
	return texts
}
