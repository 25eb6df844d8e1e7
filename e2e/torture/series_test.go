package torture

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// generator makes the requests of a lane.
type generator struct {
	rand *rand.Rand
	lane string
	v2   bool
	// equal has samples come at the time of the latest. A forwarder drops an
	// exact repeat of its own latest, which in another log is an older one.
	equal  bool
	made   int
	series []*generated
}

// generated is a series that is being written.
type generated struct {
	labels []*metricsv1.Label
	kind   sampleKind
	start  int64
	latest int64
	value  float64 // of the last float at latest
	// times that were given. With several logs, a client's entries that come again
	// are told by what they are, so no two may be equal.
	times map[int64]bool
}

// sampleKind is what samples a series has.
type sampleKind int

const (
	floats sampleKind = iota
	histograms
	both
)

// tenantLabel has the lane of a series, as which some lanes write.
const tenantLabel = "lane"

const (
	seriesPerLane = 20
	// churn is how many series of a thousand are replaced before a request.
	churn = 10
)

func newGenerator(seed uint64, lane int, v2, equal bool) *generator {
	g := &generator{rand: rand.New(rand.NewPCG(seed, uint64(100+lane))), lane: fmt.Sprint("lane-", lane), v2: v2, equal: equal}
	for range seriesPerLane {
		g.series = append(g.series, g.fresh())
	}
	return g
}

func (g *generator) fresh() *generated {
	g.made++
	s := &generated{kind: []sampleKind{histograms, both, floats, floats, floats}[g.made%5], times: map[int64]bool{}}
	s.labels = []*metricsv1.Label{
		{Name: "__name__", Value: fmt.Sprintf("torture_%d", g.made%7)},
		{Name: "job", Value: "torture"},
		{Name: tenantLabel, Value: g.lane},
		{Name: "series", Value: fmt.Sprint(g.made)},
		{Name: "text", Value: []string{"plain", "été \"quoted\" \\ \n🚀"}[g.made%2]},
	}
	return s
}

// request makes the next one.
func (g *generator) request() []*metricsv1.TimeSeries {
	var request []*metricsv1.TimeSeries
	for i, s := range g.series {
		if g.rand.IntN(1000) < churn {
			s = g.fresh()
			g.series[i] = s
		}
		if g.rand.IntN(4) == 0 {
			continue
		}
		request = append(request, g.next(s)...)
	}
	if len(request) == 0 {
		request = append(request, g.next(g.series[0])...)
	}
	return request
}

// next makes what a request has of a series: of one that has both kinds several
// messages as a rule, each with one sample, or one with both lists.
func (g *generator) next(s *generated) []*metricsv1.TimeSeries {
	if g.v2 && s.start == 0 {
		s.start = time.Now().UnixMilli() - 1000
	}
	ts := &metricsv1.TimeSeries{Labels: s.labels}
	messages := []*metricsv1.TimeSeries{ts}
	switch s.kind {
	case histograms:
		ts.Histograms = append(ts.Histograms, g.histogramOf(s))
		return messages
	case both:
		apart := g.rand.IntN(2) == 0
		for i := range 1 + g.rand.IntN(4) {
			if apart && i > 0 {
				ts = &metricsv1.TimeSeries{Labels: s.labels}
				messages = append(messages, ts)
			}
			if g.rand.IntN(2) == 0 {
				ts.Histograms = append(ts.Histograms, g.histogramOf(s))
			} else {
				ts.Samples = append(ts.Samples, g.sampleOf(s))
			}
		}
	default:
		for range 1 + g.rand.IntN(2)*g.rand.IntN(3) {
			ts.Samples = append(ts.Samples, g.sampleOf(s))
		}
	}
	if g.rand.IntN(10) == 0 {
		ts.Exemplars = append(ts.Exemplars, &metricsv1.Exemplar{
			Labels: []*metricsv1.Label{{Name: "trace_id", Value: fmt.Sprintf("%016x", g.rand.Uint64())}},
			Value:  g.rand.NormFloat64(), Timestamp: s.latest,
		})
	}
	return messages
}

func (g *generator) sampleOf(s *generated) *metricsv1.Sample {
	x := &metricsv1.Sample{Timestamp: g.time(s, g.equal), Value: g.float(), StartTimestamp: s.start}
	// An exact repeat of the latest sample would be dropped, by design.
	if x.GetTimestamp() == s.latest && math.Float64bits(x.GetValue()) == math.Float64bits(s.value) {
		x.Timestamp++
	}
	if x.GetTimestamp() >= s.latest {
		s.latest, s.value = x.GetTimestamp(), x.GetValue()
	}
	return x
}

func (g *generator) histogramOf(s *generated) *metricsv1.Histogram {
	h := g.histogram()
	h.Timestamp = g.time(s, false) // What came before may be equal but for the time.
	h.StartTimestamp = s.start
	s.latest = max(s.latest, h.GetTimestamp())
	return h
}

// time of the next sample: now as a rule, at times before the latest, and if it may
// be equal at times that of the latest.
func (g *generator) time(s *generated, equal bool) int64 {
	t := max(time.Now().UnixMilli(), s.latest+1)
	switch n := g.rand.IntN(40); {
	case n == 0 && s.latest > 0:
		for t = s.latest - 1 - g.rand.Int64N(5000); s.times[t]; {
			t--
		}
	case n == 1 && equal && s.latest > 0:
		t = s.latest
	}
	s.times[t] = true
	return t
}

var hard = []float64{
	math.NaN(), math.Float64frombits(value.StaleNaN), math.Float64frombits(0x7ff8000000000123),
	math.Copysign(0, -1), 0, math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 1 << 53,
}

func (g *generator) float() float64 {
	switch g.rand.IntN(4) {
	case 0:
		return hard[g.rand.IntN(len(hard))]
	case 1:
		return float64(g.rand.IntN(1000))
	}
	return g.rand.NormFloat64() * math.Exp(float64(g.rand.IntN(40)))
}

// histogram makes one of integers, of floats, or with its own buckets.
func (g *generator) histogram() *metricsv1.Histogram {
	n := 1 + g.rand.IntN(6)
	h := &metricsv1.Histogram{
		Sum: g.rand.NormFloat64(), Schema: int32(g.rand.IntN(8)), ZeroThreshold: 1e-128,
		PositiveSpans: []*metricsv1.BucketSpan{{Offset: int32(g.rand.IntN(20) - 10), Length: uint32(n)}},
	}
	zero := uint64(g.rand.IntN(5))
	counts := make([]uint64, n)
	sum := zero
	for i := range counts {
		counts[i] = uint64(g.rand.IntN(100))
		sum += counts[i]
	}
	if g.rand.IntN(12) == 0 {
		h.Sum = math.Float64frombits(value.StaleNaN)
	}
	if g.rand.IntN(3) == 0 {
		h.Schema, h.ZeroThreshold, sum, zero = -53, 0, sum-zero, 0
		h.PositiveSpans[0].Offset = 0
		for i := range n {
			h.CustomValues = append(h.CustomValues, float64(i)+0.5)
		}
	}
	if g.rand.IntN(2) == 0 {
		h.Count = &metricsv1.Histogram_CountInt{CountInt: sum}
		h.ZeroCount = &metricsv1.Histogram_ZeroCountInt{ZeroCountInt: zero}
		var before uint64
		for _, c := range counts {
			h.PositiveDeltas = append(h.PositiveDeltas, int64(c-before))
			before = c
		}
		return h
	}
	h.Count = &metricsv1.Histogram_CountFloat{CountFloat: float64(sum)}
	h.ZeroCount = &metricsv1.Histogram_ZeroCountFloat{ZeroCountFloat: float64(zero)}
	for _, c := range counts {
		h.PositiveCounts = append(h.PositiveCounts, float64(c))
	}
	h.ResetHint = metricsv1.Histogram_RESET_HINT_GAUGE
	return h
}
