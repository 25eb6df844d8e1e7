package server

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

	held  []held // in order of the first sample of each series
	index map[heldKey]int
}

type heldKey struct {
	src *source
	ref uint64
}

// held is the last sample of a series in this window.
type held struct {
	heldKey
	isFloat          bool
	timestamp, start int64
	value            float64
	histogram        []byte
	exemplar         []byte // the last one
	samples          uint64 // that there were
}

func newConflation(interval time.Duration) *conflation {
	if interval <= 0 {
		return nil
	}
	return &conflation{interval: interval, index: make(map[heldKey]int)}
}

// begin starts the first window.
func (c *conflation) begin() {
	if c != nil {
		c.active, c.flushed = true, time.Now()
	}
}

// hold returns the place of a series in the window, nil if samples are not to
// be held back.
func (c *conflation) hold(src *source, ref uint64) *held {
	if c == nil || !c.active {
		return nil
	}
	key := heldKey{src, ref}
	i, ok := c.index[key]
	if !ok {
		i = len(c.held)
		c.index[key] = i
		c.held = append(c.held, held{heldKey: key})
	}
	return &c.held[i]
}

func (c *conflation) float(src *source, ref uint64, timestamp, start int64, value float64) bool {
	h := c.hold(src, ref)
	if h == nil {
		return false
	}
	h.isFloat, h.timestamp, h.start, h.value, h.histogram = true, timestamp, start, value, nil
	h.samples++
	return true
}

func (c *conflation) histogram(src *source, sample *segment.Histogram) bool {
	h := c.hold(src, sample.Ref)
	if h == nil {
		return false
	}
	h.isFloat, h.histogram = false, sample.Data
	h.samples++
	return true
}

func (c *conflation) exemplar(src *source, e *segment.Exemplar) bool {
	h := c.hold(src, e.Ref)
	if h == nil {
		return false
	}
	h.exemplar = e.Data
	return true
}

func (c *conflation) holds() bool { return c != nil && len(c.held) > 0 }

// patience is how long at most the stream may wait.
func (c *conflation) patience(wait time.Duration) time.Duration {
	if !c.holds() {
		return wait
	}
	return min(wait, c.interval-time.Since(c.flushed))
}

// flushDue sends the window if its time is over.
func (c *conflation) flushDue(st *stream) error {
	if !c.holds() || time.Since(c.flushed) < c.interval {
		return nil
	}
	var coalesced uint64
	for i := range c.held {
		h := &c.held[i]
		if st.out.full() {
			if err := st.send(noEvent); err != nil {
				return err
			}
		}
		if !st.open(h.src, h.ref, h.src.names) {
			return h.src.names.err
		}
		switch {
		case h.isFloat:
			st.out.float(h.timestamp, h.start, h.value)
		case h.histogram != nil:
			st.out.histogram(h.histogram)
		}
		if h.exemplar != nil {
			st.out.exemplar(h.exemplar)
		}
		if h.samples > 1 {
			st.out.coalesced(h.samples - 1)
			coalesced += h.samples - 1
		}
		st.out.close()
	}
	st.server.metrics.coalesced.Add(float64(coalesced))
	clear(c.index)
	clear(c.held)
	c.held, c.flushed = c.held[:0], time.Now()
	return st.send(noEvent)
}
