package load

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// exposition is what a target of the fleet exposes, in its exporter's order.
type exposition struct {
	target    []prompb.Label // labels of all its series
	families  [][]instrument
	unordered bool   // a family's instruments are in another order each time
	size      int    // series
	random    source // of what distinguishes this target from others

	// Of the family that is being added to.
	name, help string
	kind       writev2.Metadata_MetricType
}

// instrument is what keeps its series together: a number, a histogram or a summary.
type instrument struct {
	series []Series
	at     int // place of the first in the exposition
	move   func(s []Series, random *source)
}

// step returns the value that follows another.
type step func(v float64, random *source) float64

// expose makes the target of a number and a generation.
func expose(number, generation int) *exposition {
	x := &exposition{random: source(uint64(number)<<20 | uint64(generation))}
	cycle[number%len(cycle)](x, number)
	// What Prometheus adds itself, without metadata.
	x.family(writev2.Metadata_METRIC_TYPE_UNSPECIFIED, "up", "")
	x.add(1, stays)
	x.family(writev2.Metadata_METRIC_TYPE_UNSPECIFIED, "scrape_duration_seconds", "")
	x.add(0, func(_ float64, random *source) float64 { return math.Round(1e9*(0.01+random.float()/5)) / 1e9 })
	x.family(writev2.Metadata_METRIC_TYPE_UNSPECIFIED, "scrape_samples_scraped", "")
	x.add(float64(x.size), stays)
	if generation == 0 {
		x.age()
	}
	return x
}

// age makes the target one that has run for days.
func (x *exposition) age() {
	x.move(&x.random)
	rounds := math.Floor(20_000 * x.random.float())
	for s := range x.counting() {
		s.Value *= rounds
	}
}

// restart is that of the target's process: what counts starts again at zero.
func (x *exposition) restart() {
	for s := range x.counting() {
		s.Value = 0
	}
}

// counting yields the series that count something. Quantiles are among them, which the next
// move sets anyway.
func (x *exposition) counting() iter.Seq[*Series] {
	return func(yield func(*Series) bool) {
		for _, family := range x.families {
			for _, in := range family {
				for i := range in.series {
					switch s := &in.series[i]; s.Type {
					case writev2.Metadata_METRIC_TYPE_COUNTER, writev2.Metadata_METRIC_TYPE_HISTOGRAM, writev2.Metadata_METRIC_TYPE_SUMMARY:
						if !yield(s) {
							return
						}
					}
				}
			}
		}
	}
}

// all yields the series, by their places.
func (x *exposition) all() iter.Seq2[int, Series] {
	return func(yield func(int, Series) bool) {
		for _, family := range x.families {
			for _, in := range family {
				for i, s := range in.series {
					if !yield(in.at+i, s) {
						return
					}
				}
			}
		}
	}
}

// move goes on to the next round.
func (x *exposition) move(random *source) {
	for _, family := range x.families {
		for _, in := range family {
			in.move(in.series, random)
		}
		for i := len(family) - 1; x.unordered && i > 0; i-- {
			j := random.next() % uint64(i+1)
			family[i], family[j] = family[j], family[i]
		}
	}
}

// on sets the labels of all series, in pairs of a name and a value.
func (x *exposition) on(labels ...string) {
	for i := 0; i < len(labels); i += 2 {
		x.target = append(x.target, prompb.Label{Name: labels[i], Value: labels[i+1]})
	}
}

// family begins a family, to which the following instruments belong.
func (x *exposition) family(kind writev2.Metadata_MetricType, name, help string) {
	x.kind, x.name, x.help = kind, name, help
	x.families = append(x.families, nil)
}

func (x *exposition) gauges(name, help string) {
	x.family(writev2.Metadata_METRIC_TYPE_GAUGE, name, help)
}

func (x *exposition) counters(name, help string) {
	x.family(writev2.Metadata_METRIC_TYPE_COUNTER, name, help)
}

func (x *exposition) histograms(name, help string) {
	x.family(writev2.Metadata_METRIC_TYPE_HISTOGRAM, name, help)
}

func (x *exposition) summaries(name, help string) {
	x.family(writev2.Metadata_METRIC_TYPE_SUMMARY, name, help)
}

// add adds a series of one number.
func (x *exposition) add(v float64, next step, labels ...string) {
	s := x.series("", labels)
	s.Value = v
	x.instrument([]Series{s}, func(s []Series, random *source) { s[0].Value = next(s[0].Value, random) })
}

// instrument adds series to the family.
func (x *exposition) instrument(series []Series, move func(s []Series, random *source)) {
	last := &x.families[len(x.families)-1]
	*last = append(*last, instrument{series: series, at: x.size, move: move})
	x.size += len(series)
}

// series of the family, whose name has a suffix. Prometheus drops labels that are empty.
func (x *exposition) series(suffix string, labels []string) Series {
	all := make([]prompb.Label, 0, 1+len(x.target)+len(labels)/2)
	all = append(append(all, prompb.Label{Name: "__name__", Value: x.name + suffix}), x.target...)
	for i := 0; i < len(labels); i += 2 {
		if labels[i+1] != "" {
			all = append(all, prompb.Label{Name: labels[i], Value: labels[i+1]})
		}
	}
	slices.SortFunc(all, func(a, b prompb.Label) int { return strings.Compare(a.Name, b.Name) })
	return Series{Labels: all, Type: x.kind, Help: x.help}
}

// histogram adds buckets, the last of which is "+Inf", a sum and a count. Most
// observations are near one of the buckets.
func (x *exposition) histogram(bounds []string, labels ...string) {
	var all []Series
	for _, le := range bounds {
		all = append(all, x.series("_bucket", append(labels, "le", le)))
	}
	all = append(all, x.series("_sum", labels), x.series("_count", labels))
	last := len(bounds) - 1
	middle := int(x.random.next() % uint64(last))
	typical, _ := strconv.ParseFloat(bounds[middle], 64)
	pace := x.pace(1000)
	x.instrument(all, func(s []Series, random *source) {
		observed := 0.0
		for i := range bounds {
			observed += math.Floor(pace * random.float() * math.Exp2(-math.Abs(float64(i-middle))))
			s[i].Value += observed
		}
		s[last+1].Value += observed * typical * (0.5 + random.float())
		s[last+2].Value += observed
	})
}

var quantiles = []float64{0.5, 0.75, 0.95, 0.98, 0.99, 0.999}

// summary adds quantiles, which are NaN after a round without observations, a sum and a count.
func (x *exposition) summary(typical float64, labels ...string) {
	var all []Series
	for _, q := range quantiles {
		all = append(all, x.series("", append(labels, "quantile", strconv.FormatFloat(q, 'g', -1, 64))))
	}
	all = append(all, x.series("_sum", labels), x.series("_count", labels))
	pace := x.pace(500)
	x.instrument(all, func(s []Series, random *source) {
		observed := math.Floor(pace * random.float())
		v := typical * random.float()
		for i, q := range quantiles {
			v += typical * q * random.float()
			s[i].Value = v
			if observed == 0 {
				s[i].Value = math.NaN()
			}
		}
		s[len(quantiles)].Value += observed * typical * (0.5 + random.float())
		s[len(quantiles)+1].Value += observed
	})
}

// pace is how much something counts in a round at most. A fifth is idle, and of the
// rest few are as fast as the fastest.
func (x *exposition) pace(fastest float64) float64 {
	return fastest * math.Pow(max(0, x.random.float()*1.25-0.25), 4)
}

// count adds a counter.
func (x *exposition) count(fastest float64, labels ...string) {
	x.add(0, grows(x.pace(fastest)), labels...)
}

// stays is the step of what never changes.
func stays(v float64, _ *source) float64 { return v }

// grows is the step of a counter.
func grows(pace float64) step {
	return func(v float64, random *source) float64 { return v + math.Floor(pace*random.float()) }
}

// wraps is the step of a counter of 32 bits.
func wraps(pace float64) step {
	return func(v float64, random *source) float64 { return math.Mod(v+math.Floor(pace*random.float()), 1<<32) }
}

// wanders is the step of a gauge that varies by a few percent, and jumps at times.
func wanders(most float64) step {
	return func(v float64, random *source) float64 {
		if random.next()%32 == 0 {
			return most * random.float()
		}
		return max(0, v+most*(random.float()-0.5)/20)
	}
}

// whole is the step of a gauge of whole numbers, which mostly stays.
func whole(most uint64) step {
	return func(v float64, random *source) float64 {
		if random.next()%4 != 0 {
			return v
		}
		return float64(random.next() % most)
	}
}

// seldom is the step of what is mostly as it should be: 1, or 0 if it is not.
func seldom(v float64, random *source) float64 {
	if random.next()%500 == 0 {
		return 1 - v
	}
	return v
}

// fades is the step of a moving average over a minute: without events it comes ever nearer to zero.
func fades(pace float64) step {
	share := math.Exp(-0.25) // a quarter of a minute passes
	return func(v float64, random *source) float64 { return v*share + pace*math.Floor(2*random.float())*(1-share) }
}

// ticks is the step of a clock of so many ticks an interval, read a little early or late.
func ticks(n, precision float64) step {
	return func(v float64, random *source) float64 {
		return math.Round((v+n*(0.999+random.float()/500))*precision) / precision
	}
}

// hex returns random digits.
func (x *exposition) hex(digits int) string {
	var b strings.Builder
	for b.Len() < digits {
		fmt.Fprintf(&b, "%016x", x.random.next())
	}
	return b.String()[:digits]
}

func (x *exposition) uid() string {
	h := x.hex(32)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// seconds is a time of the last months, as Unix has it.
func (x *exposition) seconds() float64 { return 1.78e9 + math.Floor(1e7*x.random.float()) }
