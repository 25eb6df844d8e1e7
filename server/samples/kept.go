package samples

import (
	"context"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/window"
)

// Kept is the series that matchers match, kept from one time that they are asked for to the
// next: those alone are tried that have come since. It is of one viewer, or of several who
// are allowed the same, one at a time.
type Kept struct {
	// All are those that are known, sorted by labels, and With those of them that have
	// samples.
	All  []*KeptSeries
	With []*Series

	store    *Store
	matchers []*labels.Matcher
	selected selection.Selection
	logs     []keptLog
}

// keptLog is a log, and the first reference that was not tried yet.
type keptLog struct {
	log  *replica.Replica
	next uint64
}

// KeptSeries is a series, and where it is. It has no parts if it has no samples now.
type KeptSeries struct {
	Series
	// Number is of whoever keeps the series, and 0 at first.
	Number int
	places []place
}

// place is a series of a log, with memory for its chunks.
type place struct {
	log    int
	ref    uint64
	chunks []chunk.Chunk
}

// Keep returns the series that matchers match, none of which are known yet.
func (s *Store) Keep(matchers []*labels.Matcher) *Kept { return &Kept{store: s, matchers: matchers} }

// Bytes is about what is kept.
func (k *Kept) Bytes() int64 { return int64(len(k.All)) * (SeriesBytes + ChunkBytes) }

// Find finds the samples between two timestamps, both included, and says whether they are
// all in the windows. What it found counts until it is called again. After an error nothing
// is known any more.
func (k *Kept) Find(ctx context.Context, v selection.Viewer, from, to int64) (ok bool, err error) {
	e := k.store.Evaluations.New(ctx, v)
	defer e.End()
	for _, log := range k.store.Replicas.Archived() {
		if log.Log.MaxTime() >= from {
			return false, nil
		}
	}
	k.begin(e)
	views := make([]*replica.Recent, 0, len(k.logs))
	defer func() {
		for _, v := range views {
			v.Release()
		}
	}()
	for i := range k.logs {
		v, err := k.update(e, i)
		if err != nil {
			k.forget()
			return false, err
		}
		if views = append(views, v); v.Window.Floor() > from {
			return false, nil
		}
	}
	k.read(views, from, to)
	return true, nil
}

// begin starts over if the logs are others.
func (k *Kept) begin(e *selection.Evaluation) {
	logs := k.store.Replicas.Serving()
	if k.logs != nil && slices.EqualFunc(k.logs, logs, func(a keptLog, b *replica.Replica) bool { return a.log == b }) {
		return
	}
	k.forget()
	k.selected = e.Select(k.matchers)
	k.logs = make([]keptLog, len(logs))
	for i, log := range logs {
		k.logs[i].log = log
	}
}

func (k *Kept) forget() { k.logs, k.All, k.With = nil, nil, nil }

// update adds the series of a log that are new.
func (k *Kept) update(e *selection.Evaluation, i int) (*replica.Recent, error) {
	l := &k.logs[i]
	var selected *selection.Selection
	if l.next == 0 {
		selected = &k.selected
	}
	v, err := l.log.Recent(e, selected)
	if err != nil {
		return nil, err
	}
	var added []*KeptSeries
	var row segment.Labels
	var builder labels.ScratchBuilder
	for ref := range v.From(l.next) {
		row, _ = v.View.Labels(ref, row[:0])
		if selected == nil {
			if err := e.StepSeries(&k.selected, row); err != nil {
				v.Release()
				return nil, err
			}
			if !k.selected.Matches(row) {
				continue
			}
		}
		added = append(added, &KeptSeries{Series: Series{Labels: labelsIn(&builder, row)}, places: []place{{log: i, ref: ref}}})
	}
	l.next = v.Next()
	k.add(added)
	return v, nil
}

// add adds series, in the place of which there may be others with the same labels.
func (k *Kept) add(added []*KeptSeries) {
	if len(added) == 0 {
		return
	}
	k.All = append(k.All, added...)
	slices.SortStableFunc(k.All, func(a, b *KeptSeries) int { return labels.Compare(a.Labels, b.Labels) })
	n := 0
	for _, s := range k.All {
		if n > 0 && labels.Equal(k.All[n-1].Labels, s.Labels) {
			before := k.All[n-1]
			before.places = append(before.places, s.places...)
			slices.SortStableFunc(before.places, func(a, b place) int { return a.log - b.log })
			continue
		}
		k.All[n] = s
		n++
	}
	clear(k.All[n:])
	k.All = k.All[:n]
}

// read takes the chunks of all series, and forgets those that are gone.
func (k *Kept) read(views []*replica.Recent, from, to int64) {
	readers := make([]*window.Reader, len(views))
	for i, v := range views {
		readers[i] = v.Window.Reader(from, to)
	}
	k.With = k.With[:0]
	k.All = slices.DeleteFunc(k.All, func(s *KeptSeries) bool {
		s.Parts = s.Parts[:0]
		known := false
		for i := range s.places {
			p := &s.places[i]
			if p.chunks = readers[p.log].Chunks(p.ref, p.chunks[:0]); len(p.chunks) > 0 {
				s.Parts = append(s.Parts, Part{Chunks: p.chunks, From: math.MinInt64, To: math.MaxInt64})
			} else if !known {
				known = views[p.log].Has(p.ref)
			}
		}
		if len(s.Parts) > 0 {
			k.With = append(k.With, &s.Series)
		}
		return len(s.Parts) == 0 && !known
	})
}
