package storeapi

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// LabelNames answers with the names of labels.
func (s *Store) LabelNames(ctx context.Context, from call.Caller, req *thanos.LabelNamesRequest) (*thanos.LabelNamesResponse, error) {
	if err := s.serving(); err != nil {
		return nil, err
	}
	return s.labelNames(ctx, from.Viewer(), answer.Room(from.Room), req)
}

func (s *Store) labelNames(ctx context.Context, v selection.Viewer, room func(bytes int64) error, req *thanos.LabelNamesRequest) (*thanos.LabelNamesResponse, error) {
	m, err := s.matching(ctx, v, req.GetMatchers())
	if err != nil || m.none {
		return &thanos.LabelNamesResponse{}, err
	}
	r := s.External.without(req.GetWithoutReplicaLabels())
	t := texts{ctx: ctx, exact: exact(v), room: room, of: func(name, _ string) string {
		if _, removed := r.removed[name]; removed {
			return ""
		}
		return name
	}}
	q := samples.Query{Sets: m.sets, From: req.GetStart(), To: req.GetEnd(), LabelsOnly: !exact(v)}
	if err := s.walk(ctx, v, q, &t); err != nil {
		return nil, err
	}
	for _, l := range r.added {
		if t.some {
			t.seen[l.Name] = struct{}{}
		}
	}
	return &thanos.LabelNamesResponse{Names: t.first(req.GetLimit())}, nil
}

// LabelValues answers with the values of a label.
func (s *Store) LabelValues(ctx context.Context, from call.Caller, req *thanos.LabelValuesRequest) (*thanos.LabelValuesResponse, error) {
	if err := s.serving(); err != nil {
		return nil, err
	}
	return s.labelValues(ctx, from.Viewer(), answer.Room(from.Room), req)
}

func (s *Store) labelValues(ctx context.Context, v selection.Viewer, room func(bytes int64) error, req *thanos.LabelValuesRequest) (*thanos.LabelValuesResponse, error) {
	if req.GetLabel() == "" {
		return nil, refusal.Invalid("label: there is no name")
	}
	m, err := s.matching(ctx, v, req.GetMatchers())
	if err != nil || m.none || slices.Contains(req.GetWithoutReplicaLabels(), req.GetLabel()) {
		return &thanos.LabelValuesResponse{}, err
	}
	q := samples.Query{Sets: m.sets, From: req.GetStart(), To: req.GetEnd(), LabelsOnly: !exact(v)}
	if value := s.External.value(req.GetLabel()); value != "" {
		some, err := s.some(ctx, v, q)
		if err != nil || !some {
			return &thanos.LabelValuesResponse{}, err
		}
		return &thanos.LabelValuesResponse{Values: []string{value}}, nil
	}
	t := texts{ctx: ctx, exact: exact(v), room: room, of: func(name, value string) string {
		if name != req.GetLabel() {
			return ""
		}
		return value
	}}
	if err := s.walk(ctx, v, q, &t); err != nil {
		return nil, err
	}
	return &thanos.LabelValuesResponse{Values: t.first(req.GetLimit())}, nil
}

// some says whether a query finds any series.
func (s *Store) some(ctx context.Context, v selection.Viewer, q samples.Query) (bool, error) {
	if len(q.Sets) == 0 && v.Allowed == nil {
		return true, nil
	}
	err := s.walk(ctx, v, q, &first{exact: exact(v)})
	if errors.Is(err, errFirst) {
		return true, nil
	}
	return false, err
}

// walk shows a visitor what a query finds, in its caller's turn.
func (s *Store) walk(ctx context.Context, v selection.Viewer, q samples.Query, to samples.Visitor) error {
	err := s.Engine.InTurn(ctx, v, func(ctx context.Context) error { return s.Samples.Walk(ctx, v, q, to) })
	switch {
	case errors.Is(err, seglog.ErrRemote):
		return refusal.Unavailable(errors.New("the bucket cannot be read now"), "")
	case errors.Is(err, seglog.ErrClosed):
		return refusal.Unavailable(errors.New("the log is being reopened"), "")
	}
	return err
}

// texts collects strings of labels of series, each once. It implements [samples.Visitor].
type texts struct {
	ctx   context.Context
	exact bool // series without samples in the time do not count
	it    chunk.Iterator
	room  func(bytes int64) error         // takes so many in place of what was taken before
	of    func(name, value string) string // "" for none
	seen  map[string]struct{}
	some  bool // a series was found
	taken int64
}

// Window implements [samples.Visitor]. Each label is looked at once.
func (t *texts) Window(recent *replica.Recent, from, to int64) error {
	wires := recent.View.LabelWires()
	used := make([]bool, len(wires))
	var numbers []uint32
	var chunks []chunk.Chunk
	reader := recent.Window.Reader(from, to)
	n := 0
	for ref := range recent.From(0) {
		if n++; n%heldEvery == 1 && t.ctx.Err() != nil {
			return context.Cause(t.ctx)
		}
		if chunks = reader.Chunks(ref, chunks[:0]); len(chunks) == 0 || t.exact && !within(&t.it, chunks, from, to) {
			continue
		}
		t.some = true
		numbers = recent.View.LabelNumbers(numbers[:0], ref)
		for _, number := range numbers {
			used[number] = true
		}
	}
	for number, used := range used {
		if !used {
			continue
		}
		l := head.ParseLabel(wires[number])
		if err := t.add(t.of(l.Name, l.Value)); err != nil {
			return err
		}
	}
	return nil
}

// Segments implements [samples.Visitor].
func (t *texts) Segments(series chunk.Series, from, to int64) (err error) {
	if t.exact && !within(&t.it, series.Chunks, from, to) {
		return nil
	}
	t.some = true
	series.Labels.Range(func(l labels.Label) {
		if err == nil {
			err = t.add(t.of(l.Name, l.Value))
		}
	})
	return err
}

func (t *texts) add(text string) error {
	if _, known := t.seen[text]; known || text == "" {
		return nil
	}
	if t.seen == nil {
		t.seen = map[string]struct{}{}
	}
	t.seen[text] = struct{}{}
	t.taken += answer.EntryCost + answer.Cost*int64(answer.StringSize(text))
	return t.room(t.taken)
}

// first returns what was collected, sorted, or so many of them if limit is above 0.
func (t *texts) first(limit int64) []string {
	sorted := slices.Sorted(maps.Keys(t.seen))
	if limit > 0 && int64(len(sorted)) > limit {
		return sorted[:limit]
	}
	return sorted
}

// errFirst says that there is a series.
var errFirst = errors.New("a series was found")

// first is a visitor that wants to know whether there is a series.
type first struct {
	exact bool // one without samples in the time does not count
	it    chunk.Iterator
}

// Window implements [samples.Visitor].
func (f *first) Window(recent *replica.Recent, from, to int64) error {
	reader := recent.Window.Reader(from, to)
	for ref := range recent.From(0) {
		if chunks := reader.Chunks(ref, nil); len(chunks) > 0 && (!f.exact || within(&f.it, chunks, from, to)) {
			return errFirst
		}
	}
	return nil
}

// Segments implements [samples.Visitor].
func (f *first) Segments(series chunk.Series, from, to int64) error {
	if f.exact && !within(&f.it, series.Chunks, from, to) {
		return nil
	}
	return errFirst
}

// within says whether chunks have a sample of a time.
func within(it *chunk.Iterator, chunks []chunk.Chunk, from, to int64) bool {
	it.Reset(chunks, chunk.All)
	return it.Seek(from) != chunkenc.ValNone && it.AtT() <= to
}
