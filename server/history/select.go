package history

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/selection"
)

// Select yields the series of a log that are selected and have samples from one timestamp
// to another, both included, sorted by their labels and each once, with the chunks that
// hold these samples, in order of arrival. They may hold others, too. Series and chunks
// may be kept.
//
// Its errors are those of limits, of the evaluation and of yield, and those that say that
// the log was closed or the disk fails. Blocks that are damaged, or that retention removes
// meanwhile, are left out.
func (s *Store) Select(e *selection.Evaluation, log *seglog.Log, sel *selection.Selection, from, to int64, yield func(chunk.Series) error) error {
	q := query{s: s, e: e, log: log, sel: sel, min: from, max: to}
	return q.run(func(same []source) error {
		series := chunk.Series{}
		for _, c := range same {
			if err := c.chunks(&series.Chunks); err != nil {
				return err
			}
		}
		if len(series.Chunks) == 0 {
			return nil
		}
		series.Labels = same[0].at()
		return yielded(yield(series))
	})
}

// Series is Select without samples. A series may have none between these timestamps, if it
// has some before and after.
func (s *Store) Series(e *selection.Evaluation, log *seglog.Log, sel *selection.Selection, from, to int64, yield func(labels.Labels) error) error {
	q := query{s: s, e: e, log: log, sel: sel, min: from, max: to}
	return q.run(func(same []source) error { return yielded(yield(same[0].at())) })
}

// yieldError is an error of who is yielded to.
type yieldError struct{ error }

func yielded(err error) error {
	if err != nil {
		return yieldError{err}
	}
	return nil
}

// query is one call of Select or Series.
type query struct {
	s        *Store
	e        *selection.Evaluation
	log      *seglog.Log
	sel      *selection.Selection
	min, max int64

	some bool          // a series was yielded
	last labels.Labels // the last one
}

// attempts are how often the parts of a segment are made anew that turn out to be damaged.
const attempts = 3

// run calls do for the sources that have one series, for each series.
func (q *query) run(do func([]source) error) error {
	defer q.e.Pause()
	most := attempts * len(q.log.SegmentsWithin(q.min, q.max))
	for attempt := 1; ; attempt++ {
		err := q.once(do)
		var by yieldError
		if errors.As(err, &by) {
			return by.error
		}
		if attempt < most && errors.Is(err, errAgain) {
			continue // What was yielded is left out.
		}
		return err
	}
}

// errAgain says that what was wrong has been removed.
var errAgain = errors.New("a part is of no use any more")

func (q *query) once(do func([]source) error) error {
	var sources []source
	defer func() {
		for _, c := range sources {
			c.end()
		}
	}()
	for _, n := range needsOf(q.log, q.min, q.max) {
		u, err := q.s.use(q.e, n)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return err
		}
		defer q.s.release(u)
		for i := range u.parts {
			c, err := q.openPart(u, &u.parts[i])
			if err != nil {
				return err
			}
			if c != nil {
				sources = append(sources, c)
			}
		}
		if u.decoding != nil {
			c, err := q.openRun(u.decoding, u.run, u.view)
			if err != nil {
				return err
			}
			sources = append(sources, c)
		}
	}
	// What follows is reading, for which the caller has a turn of its own.
	q.e.Pause()
	return q.merge(sources, do)
}

// needsOf returns the segments of a log that have blocks, and may have samples from one
// timestamp to another, the oldest first.
func needsOf(log *seglog.Log, from, to int64) (found []need) {
	segments := log.SegmentsWithin(from, to)
	newest, _ := log.Newest()
	for _, info := range segments {
		if info.LastSequence < info.FirstSequence {
			continue
		}
		found = append(found, need{
			log: log, first: info.FirstSequence, last: info.LastSequence,
			final: info.Sealed || info.FirstSequence < newest.FirstSequence, remote: info.Remote, created: info.CreateTime,
		})
	}
	return found
}

// failed removes what is damaged, and says whether it may go on without.
func (q *query) failed(u *use, err error) error {
	switch {
	case errors.Is(err, errDamaged), errors.Is(err, chunk.ErrDamaged), errors.Is(err, io.EOF), errors.Is(err, os.ErrNotExist):
		q.s.damaged(u, err)
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	return err
}

// merge calls do for each series of the sources, which are in order of arrival.
func (q *query) merge(sources []source, do func([]source) error) error {
	var h byLabels
	for order, c := range sources {
		ok, err := c.next()
		if err != nil {
			return err
		}
		if ok {
			h = append(h, ordered{c, order})
		}
	}
	heap.Init(&h)
	var same []ordered
	var given []source
	for len(h) > 0 {
		at := h[0].at()
		same, given = same[:0], given[:0]
		for len(h) > 0 && labels.Compare(h[0].at(), at) == 0 {
			c := heap.Pop(&h).(ordered)
			same, given = append(same, c), append(given, c.source)
		}
		if !q.some || labels.Compare(q.last, at) < 0 {
			if q.e.Context().Err() != nil {
				return context.Cause(q.e.Context())
			}
			if err := do(given); err != nil {
				return err
			}
			q.some, q.last = true, at
		}
		for _, c := range same {
			ok, err := c.next()
			if err != nil {
				return err
			}
			if ok {
				heap.Push(&h, c)
			}
		}
	}
	return nil
}

// ordered is a source with its place in the order of arrival.
type ordered struct {
	source
	order int
}

// byLabels are sources by the series that they are at.
type byLabels []ordered

func (h byLabels) Len() int { return len(h) }
func (h byLabels) Less(i, j int) bool {
	c := labels.Compare(h[i].at(), h[j].at())
	return c < 0 || c == 0 && h[i].order < h[j].order
}
func (h byLabels) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byLabels) Push(x any)   { *h = append(*h, x.(ordered)) }
func (h *byLabels) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	*h = (*h)[:last]
	return c
}
