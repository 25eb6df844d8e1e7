package chunk

import (
	"github.com/prometheus/prometheus/model/histogram"
)

// Builder makes chunks of the samples of one series, which it is given in order of arrival.
// Samples whose timestamps go back come into chunks of their own. The zero value is ready
// to be used.
type Builder struct {
	ascending chain
	late      []sample // whose timestamps went back
	some      bool
	latest    int64
}

// sample is one of any kind.
type sample struct {
	t       int64
	lag     uint64
	float   float64
	integer *histogram.Histogram // or nil
	floats  *histogram.FloatHistogram
}

// Float adds a float.
func (b *Builder) Float(t int64, lag uint64, v float64) { b.add(&sample{t: t, lag: lag, float: v}) }

// Histogram adds one with counts that are integers. It has to be valid, and is kept.
func (b *Builder) Histogram(t int64, lag uint64, h *histogram.Histogram) {
	b.add(&sample{t: t, lag: lag, integer: h})
}

// FloatHistogram adds one with counts that are floats. It has to be valid, and is kept.
func (b *Builder) FloatHistogram(t int64, lag uint64, h *histogram.FloatHistogram) {
	b.add(&sample{t: t, lag: lag, floats: h})
}

func (b *Builder) add(s *sample) {
	if b.some && s.t <= b.latest {
		b.late = append(b.late, *s)
		return
	}
	b.some, b.latest = true, s.t
	b.ascending.add(s)
}

// Take returns the chunks of the samples, in an order in which the first one of those
// that have a timestamp has the sample that arrived first, and starts over.
func (b *Builder) Take() []Chunk {
	chunks := b.ascending.take(nil)
	if len(b.late) > 0 {
		// A late one at the timestamp of one that ascends came after it.
		late := sortLate(b.late)
		for i := range late {
			b.ascending.add(&late[i])
		}
		chunks = b.ascending.take(chunks)
	}
	clear(b.late)
	b.late, b.some = b.late[:0], false
	return chunks
}
