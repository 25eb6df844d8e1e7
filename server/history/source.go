package history

import (
	"fmt"
	"io"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/postings"
)

// source has the series of some blocks that are selected, sorted by their labels.
type source interface {
	// next goes to the next series, false if there is none.
	next() (bool, error)
	// at returns its labels.
	at() labels.Labels
	// chunks appends those of its chunks that may have samples in the range to dst.
	chunks(dst *[]chunk.Chunk) error
	// end gives back room.
	end()
}

// partSource are the series of a part.
type partSource struct {
	*lookup
	q       *query
	use     *use
	matches *postings.Matches
	id      uint32 // of the next one
	series  *series
	labels  labels.Labels
	extents extents
}

// openPart returns the series of a part that are selected, nil if the range has none.
func (q *query) openPart(u *use, o *opened) (source, error) {
	p, err := openPart(o.r, o.size)
	if err == nil && p.span != o.span {
		err = fmt.Errorf("%w: it is %s", errDamaged, p.span)
	}
	if err != nil {
		return nil, q.failed(u, err)
	}
	if p.max < q.min || p.min > q.max {
		return nil, nil
	}
	c := &partSource{lookup: newLookup(q.e, p), q: q, use: u, extents: extents{r: o.r, limit: p.sections[ofSeries][0]}}
	if err = c.grow(p.bytes()); err == nil {
		c.matches, err = postings.Find(q.e, c.lookup, q.sel)
	}
	if err != nil {
		c.end()
		return nil, q.failed(u, err)
	}
	return c, nil
}

func (c *partSource) next() (bool, error) {
	for {
		id, ok := c.matches.Next(c.id)
		if !ok {
			return false, nil
		}
		c.id = id + 1
		e, err := c.seriesAt(id)
		if err != nil {
			return false, c.q.failed(c.use, err)
		}
		if e.max < c.q.min || e.min > c.q.max {
			continue
		}
		c.series = e
		if c.labels, err = c.labelsOf(e.row); err != nil {
			return false, c.q.failed(c.use, err)
		}
		return true, nil
	}
}

func (c *partSource) at() labels.Labels { return c.labels }

func (c *partSource) chunks(dst *[]chunk.Chunk) error {
	b, err := c.extents.read(c.series.offset, c.series.length)
	if err != nil {
		return c.q.failed(c.use, c.unread(err))
	}
	for len(b) > 0 {
		var one chunk.Chunk
		if one, b, err = chunk.Decode(b); err != nil {
			return c.q.failed(c.use, err)
		}
		c.q.append(dst, one)
	}
	return nil
}

func (c *partSource) end() {
	if c.matches != nil {
		_ = c.q.e.Grow(-c.matches.Bytes())
	}
	c.lookup.end()
}

// append appends a chunk to dst if it may have samples in the range.
func (q *query) append(dst *[]chunk.Chunk, c chunk.Chunk) {
	if c.Min <= q.max && c.Max >= q.min {
		*dst = append(*dst, c)
	}
}

// extents reads extents, which most often follow one another.
type extents struct {
	r     io.ReaderAt
	limit int64 // where the extents end
	buf   []byte
	start int64 // of buf
	end   int64 // of the extent that was read last
}

const readAhead = 128 << 10

// read returns an extent, in memory of its own.
func (x *extents) read(offset int64, length int) ([]byte, error) {
	end := offset + int64(length)
	follows := x.end > 0 && offset-x.end < readAhead/4 && offset >= x.end
	x.end = end
	if offset < x.start || end > x.start+int64(len(x.buf)) {
		size := int64(length)
		if follows {
			size = min(max(size, readAhead), x.limit-offset)
		}
		if int64(cap(x.buf)) < size || cap(x.buf) > 4*readAhead && size <= readAhead {
			x.buf = make([]byte, size)
		}
		x.buf, x.start = x.buf[:size], offset
		if _, err := x.r.ReadAt(x.buf, offset); err != nil {
			x.buf = x.buf[:0]
			return nil, err
		}
	}
	return slices.Clone(x.buf[offset-x.start:][:length]), nil
}

// runSource are the series of a run.
type runSource struct {
	q      *query
	d      *decoding
	run    *run
	ids    []uint32 // sorted by labels
	labels labels.Labels
	found  []chunk.Chunk
	b      labels.ScratchBuilder
}

// stepsOfSeries is about what it costs to sort one, in instructions.
const stepsOfSeries = 1000

// openRun returns the series of a run that are selected.
func (q *query) openRun(d *decoding, r *run, view *postings.View) (source, error) {
	matches, err := postings.Find(q.e, view, q.sel)
	if err != nil {
		return nil, err
	}
	c := &runSource{q: q, d: d, run: r, b: labels.NewScratchBuilder(16)}
	d.mu.RLock()
	for id := range matches.Each {
		if int(id) < len(r.builders) && r.builders[id] != nil {
			c.ids = append(c.ids, id)
		}
	}
	d.mu.RUnlock()
	if err := q.e.Grow(int64(4*cap(c.ids)) - matches.Bytes()); err != nil {
		return nil, err
	}
	if err := q.e.Step(stepsOfSeries * int64(len(c.ids))); err != nil {
		return nil, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	slices.SortFunc(c.ids, func(a, b uint32) int { return d.compare(int(a), int(b)) })
	return c, nil
}

func (c *runSource) next() (bool, error) {
	for len(c.ids) > 0 {
		id := int(c.ids[0])
		c.ids = c.ids[1:]
		c.found = nil
		for _, one := range c.d.chunks(c.run, id) {
			c.q.append(&c.found, one)
		}
		if len(c.found) > 0 {
			c.labels = c.d.labelsOf(id, &c.b)
			return true, nil
		}
	}
	return false, nil
}

func (c *runSource) at() labels.Labels { return c.labels }

func (c *runSource) chunks(dst *[]chunk.Chunk) error {
	*dst = append(*dst, c.found...)
	return nil
}

func (c *runSource) end() { _ = c.q.e.Grow(-int64(4 * cap(c.ids))) }
