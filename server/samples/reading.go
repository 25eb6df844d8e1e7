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

// Visitor is shown what a query finds, one log after another.
type Visitor interface {
	// Window is shown the series of a log that are selected, those without samples too, and
	// its window, of which the samples between two timestamps count, both included. They
	// may be read until it returns.
	Window(recent *replica.Recent, from, to int64) error
	// Segments is shown a series that the segments of a log have, with chunks whose samples
	// between two timestamps count, both included. The series may be kept.
	Segments(series chunk.Series, from, to int64) error
}

// reading is one query's way through the logs.
type reading struct {
	store      *Store
	query      Query
	evaluation *selection.Evaluation
	selected   selection.Selection
	to         Visitor
}

// read shows what a log has.
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

// ofLog shows what the window has, and the segments before that.
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
	return r.to.Window(recent, max(from, floor), to)
}

// ofHistory shows the series of the segments.
func (r *reading) ofHistory(log *replica.Replica, from, to int64) error {
	h := r.store.History
	if r.query.LabelsOnly {
		return h.Series(r.evaluation, log.Log, &r.selected, from, to, func(ls labels.Labels) error {
			return r.to.Segments(chunk.Series{Labels: ls}, from, to)
		})
	}
	return h.Select(r.evaluation, log.Log, &r.selected, from, to, func(found chunk.Series) error {
		return r.to.Segments(found, from, to)
	})
}

// collecting is a visitor that keeps the series.
type collecting struct {
	ctx   context.Context
	hold  *limit.Hold
	found []*Series
}

// Segments implements [Visitor].
func (c *collecting) Segments(series chunk.Series, from, to int64) error {
	n := int64(SeriesBytes + series.Labels.ByteSize())
	for _, c := range series.Chunks {
		n += int64(ChunkBytes + len(c.Data.Bytes()) + len(c.Lags))
	}
	c.add(series.Labels, Part{Chunks: series.Chunks, From: from, To: to})
	return c.grow(n)
}

// Window implements [Visitor].
func (c *collecting) Window(recent *replica.Recent, from, to int64) error {
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
		c.add(ls, Part{Chunks: chunks, From: from, To: to})
		if held += SeriesBytes + int64(ls.ByteSize()) + int64(ChunkBytes*len(chunks)); held > heldAtOnce {
			if err := c.grow(held); err != nil {
				return err
			}
			held = 0
		}
	}
	return c.grow(held)
}

func (c *collecting) add(ls labels.Labels, p Part) {
	c.found = append(c.found, &Series{Labels: ls, Parts: []Part{p}})
}

// heldAtOnce is how much is read before it is held.
const heldAtOnce = 256 << 10

// grow holds more, unless nobody wants it any more.
func (c *collecting) grow(n int64) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return c.hold.Grow(n)
}

// labelsIn makes labels of those of a segment.
func labelsIn(b *labels.ScratchBuilder, row segment.Labels) labels.Labels {
	b.Reset()
	for i := range row {
		b.Add(row[i].Name, row[i].Value)
	}
	return b.Labels()
}
