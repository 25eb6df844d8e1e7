package stream

import (
	"time"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// conflation is what min_interval asks for: once the stream is synced, of each series
// only the last sample of an interval is sent, at its end.
//
//	block    1   2   3           4   5
//	series   ab  a   b           a   c
//	sent                a2 b3            a4 c5
//	cursor              0  3             3  5
//
// The responses of an interval carry the cursor from before it, but for the last of
// them (here there are two). So a stream that is resumed has the last sample of every
// series, and has one twice only if it broke off between those responses.
//
// A nil conflation holds nothing back.
type conflation struct {
	interval time.Duration
	active   bool
	flushed  time.Time // when the last interval ended
	series   int       // that are held back, of all logs
}

func newConflation(interval time.Duration) *conflation {
	if interval <= 0 {
		return nil
	}
	return &conflation{interval: interval}
}

// activate starts the first interval.
func (c *conflation) activate() {
	if c != nil {
		c.active, c.flushed = true, time.Now()
	}
}

// entry returns the entry of a series, nil if samples are not held back.
func (c *conflation) entry(src *source, ref uint64) *entry {
	if c == nil || !c.active {
		return nil
	}
	before := src.deferred.len
	e := src.deferred.find(ref)
	c.series += src.deferred.len - before
	return e
}

// float, histogram and exemplar say whether they hold the sample back.
func (c *conflation) float(src *source, ref uint64, timestamp, start int64, value float64) bool {
	e := c.entry(src, ref)
	if e == nil {
		return false
	}
	src.deferred.float(e, timestamp, start, value)
	return true
}

func (c *conflation) histogram(src *source, sample *segment.Histogram) bool {
	e := c.entry(src, sample.Ref)
	if e == nil {
		return false
	}
	src.deferred.histogram(e, sample.Data)
	return true
}

func (c *conflation) exemplar(src *source, sample *segment.Exemplar) bool {
	e := c.entry(src, sample.Ref)
	if e == nil {
		return false
	}
	src.deferred.exemplar(e, sample.Data)
	return true
}

// holding says whether any sample is held back.
func (c *conflation) holding() bool { return c != nil && c.series > 0 }

// wait is how long the stream may wait while samples are held back.
func (c *conflation) wait(most time.Duration) time.Duration {
	return min(most, c.interval-time.Since(c.flushed))
}

// flushDue sends what is held back if the interval is over.
func (c *conflation) flushDue(st *stream) error {
	if !c.holding() || time.Since(c.flushed) < c.interval {
		return nil
	}
	if invariant.On {
		c.checkHeld(st.sources)
	}
	for _, src := range st.sources {
		if err := st.flush(src); err != nil {
			return err
		}
	}
	for _, src := range st.sources {
		src.deferred.clear()
		src.deferred.after = src.sequence
	}
	c.series, c.flushed = 0, time.Now()
	return st.send(noEvent)
}

// flush puts what is held back of one log into responses, and sends those that are
// full.
func (st *stream) flush(src *source) error {
	var coalesced uint64
	var left leftOut
	for number := range uint32(src.deferred.len) {
		e := src.deferred.at(number)
		if st.out.full() {
			if err := st.send(noEvent); err != nil {
				return err
			}
		}
		ok, err := left.opened(st.openSeries(src, e.ref, src.labels))
		if err != nil {
			return src.labels.err
		}
		if !ok {
			continue
		}
		st.put(&src.deferred, e)
		if e.samples > 1 {
			st.out.coalesced(uint64(e.samples - 1))
			coalesced += uint64(e.samples - 1)
		}
		st.out.closeSeries()
	}
	st.streams.metrics.coalesced.Add(float64(coalesced))
	return st.report(left, src, src.deferred.after, src.sequence)
}

// put puts the last sample of a series into the response.
func (st *stream) put(d *deferred, e *entry) {
	r := d.rareOf(e)
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
