package segment

import (
	"fmt"
	"math"
	"math/rand/v2"
)

const staleNaN = 0x7ff0000000000002

// samplesOf returns samples in this order.
func samplesOf(samples ...Sample) (s Samples) {
	for _, x := range samples {
		s.Add(x)
	}
	return s
}

// world makes blocks as a Prometheus that scrapes a few programs would send
// them: constants, counters of events, bytes and seconds, gauges, quantiles.
type world struct {
	rnd    *rand.Rand
	values []float64
	time   int64
	seq    uint64
}

func newWorld(series int) *world {
	return &world{rnd: rand.New(rand.NewPCG(1, 2)), values: make([]float64, series), time: 1_700_000_000_000}
}

func (w *world) labels(i int) Labels {
	return Labels{
		{"__name__", fmt.Sprintf("http_request_duration_seconds_%d", i/100)},
		{"code", fmt.Sprint(200 + i%5)},
		{"handler", fmt.Sprintf("/api/v1/path/%d", i%20)},
		{"instance", fmt.Sprintf("10.0.%d.%d:9100", i/1000%256, i/10000)},
		{"job", "node"},
		{"le", []string{"0.1", "0.5", "1", "5", "+Inf"}[i%5]},
	}
}

func (w *world) step(i int) float64 {
	v := &w.values[i]
	switch i % 20 {
	case 0, 1, 2, 3, 4, 5, 6, 7: // seldom changes
		if w.rnd.IntN(20) == 0 {
			*v++
		}
	case 8, 9, 10, 11: // events
		*v += float64(w.rnd.IntN(200))
	case 12, 13: // bytes
		*v += float64(w.rnd.IntN(1 << 22))
	case 14: // memory in use
		*v = float64(1<<30 + w.rnd.IntN(1<<24)*4096)
	case 15: // processor seconds
		*v = math.Round((*v+w.rnd.Float64()*15)*100) / 100
	case 16: // sum of seconds
		*v += w.rnd.Float64() / 10
	case 17: // load
		*v = math.Round(w.rnd.Float64()*800) / 100
	case 18: // time
		*v = float64(w.time/1000) + 0.123
	default: // any float
		*v = w.rnd.NormFloat64()
	}
	return *v
}

// block holds n samples from the first series on.
func (w *world) block(first, n int) *Block {
	w.seq++
	b := &Block{Sequence: w.seq, Time: w.time, Verdict: Verdict{Samples: uint32(n), Code: 1}}
	w.rnd.Uint64()
	for i := range b.Digest {
		b.Digest[i] = byte(w.rnd.Uint32())
	}
	for i := first; i < first+n; i++ {
		b.Samples.Add(Sample{Ref: uint64(i + 1), Timestamp: w.time + int64(i/500)*137, Value: w.step(i)})
	}
	return b
}

// series returns n series from the first on.
func (w *world) series(first, n int) SeriesTable {
	var series []Series
	for i := first; i < first+n; i++ {
		series = append(series, Series{uint64(i + 1), w.labels(i)})
	}
	return TableOf(series...)
}

func (w *world) keyframe() *Keyframe {
	k := &Keyframe{NextRef: uint64(len(w.values) + 1), Sequence: w.seq, Last: true}
	k.Series = w.series(0, len(w.values))
	for _, v := range w.values {
		k.Latest = append(k.Latest, Latest{Timestamp: w.time, Value: v, Written: w.time})
	}
	return k
}
