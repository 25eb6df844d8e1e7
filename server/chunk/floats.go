package chunk

import (
	"errors"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Point is a float at a timestamp in ms.
type Point struct {
	T int64
	V float64
}

// Floats is a chunk of floats that are not encoded, timestamps ascending, of which there
// is one at least. It keeps points and lags.
func Floats(points []Point, lags []byte) Chunk {
	return Chunk{Min: points[0].T, Max: points[len(points)-1].T, Data: floats(points), Lags: lags}
}

// floats implements [chunkenc.Chunk]. Its bytes are those of an XOR chunk.
type floats []Point

func (f floats) Bytes() []byte {
	c := chunkenc.NewXORChunk()
	app, _ := c.Appender() // It fails for one that has samples, and is damaged.
	for _, p := range f {
		app.Append(0, p.T, p.V)
	}
	return c.Bytes()
}

func (f floats) Encoding() chunkenc.Encoding { return chunkenc.EncXOR }
func (f floats) NumSamples() int             { return len(f) }
func (f floats) Compact()                    {}
func (f floats) Reset([]byte)                {}

var errNoAppend = errors.New("nothing is appended to a chunk that is read")

func (f floats) Appender() (chunkenc.Appender, error) { return nil, errNoAppend }

func (f floats) Iterator(again chunkenc.Iterator) chunkenc.Iterator {
	it, ok := again.(*floatsIterator)
	if !ok {
		it = new(floatsIterator)
	}
	*it = floatsIterator{rest: f}
	return it
}

// floatsIterator yields the points of floats.
type floatsIterator struct {
	rest floats
	at   Point
	some bool
}

func (it *floatsIterator) Next() chunkenc.ValueType {
	if len(it.rest) == 0 {
		return chunkenc.ValNone
	}
	it.at, it.rest, it.some = it.rest[0], it.rest[1:], true
	return chunkenc.ValFloat
}

func (it *floatsIterator) Seek(t ms) chunkenc.ValueType {
	for !it.some || it.at.T < t {
		if it.Next() == chunkenc.ValNone {
			return chunkenc.ValNone
		}
	}
	return chunkenc.ValFloat
}

func (it *floatsIterator) At() (int64, float64) { return it.at.T, it.at.V }
func (it *floatsIterator) AtT() int64           { return it.at.T }
func (it *floatsIterator) AtST() int64          { return 0 }
func (it *floatsIterator) Err() error           { return nil }

func (it *floatsIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return it.at.T, &histogram.Histogram{Sum: math.NaN()}
}

func (it *floatsIterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return it.at.T, &histogram.FloatHistogram{Sum: math.NaN()}
}
