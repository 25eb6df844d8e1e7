package stream

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/call"
)

// lastOf is deferred without regard to memory.
type lastOf struct {
	order []uint64
	last  map[uint64]sampleOf
}

type sampleOf struct {
	timestamp, start    int64
	value               float64
	histogram, exemplar string
	samples             uint32
}

func (m *lastOf) change(ref uint64, change func(*sampleOf)) {
	s, ok := m.last[ref]
	if !ok {
		m.order = append(m.order, ref)
	}
	change(&s)
	m.last[ref] = s
}

// Each interval has the last sample of each series, in the order in which they came.
func TestDeferred(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var d deferred
	for _, size := range []int{1, 7, 3000, 40, 0, 5000, 5} {
		want := lastOf{last: map[uint64]sampleOf{}}
		for i := range 3 * size {
			ref := 1 + random.Uint64N(uint64(size))*977
			data := make([]byte, random.IntN(40))
			for j := range data {
				data[j] = byte(i + j)
			}
			e := d.find(ref)
			switch random.IntN(8) {
			case 0:
				d.histogram(e, data)
				want.change(ref, func(s *sampleOf) { s.samples++; s.histogram, s.value = "h"+string(data), 0 })
			case 1:
				d.exemplar(e, data)
				want.change(ref, func(s *sampleOf) { s.exemplar = "e" + string(data) })
			default:
				d.float(e, int64(i), int64(-i), float64(i))
				want.change(ref, func(s *sampleOf) {
					s.samples++
					s.timestamp, s.start, s.value, s.histogram = int64(i), int64(-i), float64(i), ""
				})
			}
			clear(data) // The block that it came in may be gone.
		}
		require.Equal(t, len(want.order), d.len)
		for number := range uint32(d.len) {
			e := d.at(number)
			got := sampleOf{timestamp: e.timestamp, start: e.start, samples: e.samples}
			r := d.rareOf(e)
			if r != nil && r.hasExemplars {
				got.exemplar = "e" + string(r.exemplar)
			}
			if r != nil && r.isHistogram {
				got.histogram = "h" + string(r.histogram)
			} else {
				got.value = e.value
			}
			require.Equal(t, want.order[number], e.ref)
			require.Equal(t, want.last[e.ref], got)
		}
		d.clear()
	}
}

func heapBytes() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// A series that is held back takes about fifty bytes, and all memory is counted.
func TestDeferredBytes(t *testing.T) {
	const series = 200_000
	before := heapBytes()
	d := new(deferred)
	for range 3 {
		for ref := range uint64(series) {
			d.float(d.find(ref+1), 1, 1, 1)
		}
	}
	require.Less(t, d.bytes(), int64(55*series))
	require.InEpsilon(t, heapBytes()-before, d.bytes(), 0.1)
	for ref := range uint64(series / 8) {
		d.histogram(d.find(ref+1), make([]byte, 200))
	}
	require.InEpsilon(t, heapBytes()-before, d.bytes(), 0.1)
	d.clear()
	d.find(1)
	d.clear()
	require.Less(t, d.bytes(), int64(2*call.IncludedBytes))
	require.Less(t, heapBytes()-before, float64(2*call.IncludedBytes))
	runtime.KeepAlive(d)
}
