package samples

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// reading is one query's way through the logs.
type reading struct {
	ctx        context.Context
	store      *Store
	query      Query
	hold       *limit.Hold
	evaluation *selection.Evaluation
	selected   selection.Selection
	found      []*Series
}

// read adds what a log has.
func (r *reading) read(log *replica.Replica) error {
	if log.Remote() {
		return r.ofHistory(log, r.query.From, r.query.To)
	}
	if err := r.complete(log); err != nil {
		return err
	}
	return r.ofLog(log)
}

// complete fails if the log may have samples of that time in the bucket that nobody knows of.
func (r *reading) complete(log *replica.Replica) error {
	oldest, there := log.Log.Oldest()
	if !there || oldest.FirstSequence <= 1 || r.query.From >= oldest.CreateTime.UnixMilli() {
		return nil
	}
	return r.store.Replicas.Listed()
}

// ofLog adds what the window has, and the segments before that.
func (r *reading) ofLog(log *replica.Replica) error {
	recent, err := log.Recent(r.evaluation, &r.selected)
	if err != nil {
		return err
	}
	defer recent.Release()
	from, to, floor := r.query.From, r.query.To, recent.Window.Floor()
	if from < floor {
		if err := r.ofHistory(log, from, min(to, floor-1)); err != nil {
			return err
		}
	}
	if floor > to {
		return nil
	}
	return r.ofWindow(recent, max(from, floor), to)
}

// ofHistory adds the series of the segments.
func (r *reading) ofHistory(log *replica.Replica, from, to int64) error {
	h := r.store.History
	if r.query.LabelsOnly {
		return h.Series(r.evaluation, log.Log, &r.selected, from, to, func(ls labels.Labels) error {
			r.add(ls, Part{})
			return r.grow(int64(SeriesBytes + ls.ByteSize()))
		})
	}
	return h.Select(r.evaluation, log.Log, &r.selected, from, to, func(found chunk.Series) error {
		n := int64(SeriesBytes + found.Labels.ByteSize())
		for _, c := range found.Chunks {
			n += int64(ChunkBytes + len(c.Data.Bytes()) + len(c.Lags))
		}
		r.add(found.Labels, Part{Chunks: found.Chunks, From: from, To: to})
		return r.grow(n)
	})
}

// ofWindow adds the series of a window.
func (r *reading) ofWindow(recent *replica.Recent, from, to int64) error {
	var row segment.Labels
	var builder labels.ScratchBuilder
	held := int64(0)
	reader := recent.Window.Reader(from, to)
	for ref := range recent.From(0) {
		chunks := reader.Chunks(ref, nil)
		if len(chunks) == 0 {
			continue
		}
		row, _ = recent.View.Labels(ref, row[:0])
		ls := labelsIn(&builder, row)
		r.add(ls, Part{Chunks: chunks, From: from, To: to})
		if held += SeriesBytes + int64(ls.ByteSize()) + int64(ChunkBytes*len(chunks)); held > heldAtOnce {
			if err := r.grow(held); err != nil {
				return err
			}
			held = 0
		}
	}
	return r.grow(held)
}

func (r *reading) add(ls labels.Labels, p Part) {
	r.found = append(r.found, &Series{Labels: ls, Parts: []Part{p}})
}

// heldAtOnce is how much is read before it is held.
const heldAtOnce = 256 << 10

// grow holds more, unless nobody wants it any more.
func (r *reading) grow(n int64) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return r.hold.Grow(n)
}

// labelsIn makes labels of those of a segment.
func labelsIn(b *labels.ScratchBuilder, row segment.Labels) labels.Labels {
	b.Reset()
	for i := range row {
		b.Add(row[i].Name, row[i].Value)
	}
	return b.Labels()
}
