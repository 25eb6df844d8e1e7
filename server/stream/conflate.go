package stream

import (
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// conflation is what min_interval asks for: once the stream is synced, time is
// cut into windows of at least the interval; of each series, the last sample
// of a window is sent at its end.
//
// A window's responses carry the cursor of the window before, but for the
// last: so a stream that is taken up again misses no series' last sample, and
// gets samples twice only if it broke off between the responses of one window.
//
// A nil conflation holds nothing back.
type conflation struct {
	interval time.Duration
	active   bool
	flushed  time.Time // when the window before ended
	series   int       // that are held back, of all logs
}

func newConflation(interval time.Duration) *conflation {
	if interval <= 0 {
		return nil
	}
	return &conflation{interval: interval}
}

// begin starts the first window.
func (c *conflation) begin() {
	if c != nil {
		c.active, c.flushed = true, time.Now()
	}
}

// hold returns the place of a series in the window of its log, nil if samples are
// not to be held back.
func (c *conflation) hold(src *source, ref uint64) *entry {
	if c == nil || !c.active {
		return nil
	}
	before := src.window.len
	e := src.window.find(ref)
	c.series += src.window.len - before
	return e
}

func (c *conflation) float(src *source, ref uint64, timestamp, start int64, value float64) bool {
	e := c.hold(src, ref)
	if e == nil {
		return false
	}
	src.window.float(e, timestamp, start, value)
	return true
}

func (c *conflation) histogram(src *source, sample *segment.Histogram) bool {
	e := c.hold(src, sample.Ref)
	if e == nil {
		return false
	}
	src.window.histogram(e, sample.Data)
	return true
}

func (c *conflation) exemplar(src *source, sample *segment.Exemplar) bool {
	e := c.hold(src, sample.Ref)
	if e == nil {
		return false
	}
	src.window.exemplar(e, sample.Data)
	return true
}

func (c *conflation) holds() bool { return c != nil && c.series > 0 }

// patience is how long at most the stream may wait while samples are held back.
func (c *conflation) patience(wait time.Duration) time.Duration {
	return min(wait, c.interval-time.Since(c.flushed))
}

// flushDue sends the window if its time is over.
func (c *conflation) flushDue(st *stream) error {
	if !c.holds() || time.Since(c.flushed) < c.interval {
		return nil
	}
	for _, src := range st.sources {
		if err := st.flush(src); err != nil {
			return err
		}
	}
	for _, src := range st.sources {
		src.window.clear()
		src.window.after = src.sequence
	}
	c.series, c.flushed = 0, time.Now()
	return st.send(noEvent)
}

// flush puts what is held back of one log into responses, and sends those that get
// full.
func (st *stream) flush(src *source) error {
	var coalesced uint64
	var left leftOut
	for place := range uint32(src.window.len) {
		e := src.window.at(place)
		if st.out.full() {
			if err := st.send(noEvent); err != nil {
				return err
			}
		}
		ok, err := left.opened(st.open(src, e.ref, src.names))
		if err != nil {
			return src.names.err
		}
		if !ok {
			continue
		}
		st.put(&src.window, e)
		if e.samples > 1 {
			st.out.coalesced(uint64(e.samples - 1))
			coalesced += uint64(e.samples - 1)
		}
		st.out.close()
	}
	st.streams.metrics.coalesced.Add(float64(coalesced))
	return st.tell(left, src, src.window.after, src.sequence)
}

// put puts the last sample of a series into the response.
func (st *stream) put(w *window, e *entry) {
	r := w.rareOf(e)
	switch {
	case r != nil && r.isHistogram:
		st.out.histogram(r.histogram)
	case e.samples > 0:
		st.out.float(e.timestamp, e.start, e.value)
	}
	if r != nil && r.hasExemplars {
		st.out.exemplar(r.exemplar)
	}
}
