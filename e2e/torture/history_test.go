package torture

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// entry is a sample, a histogram or an exemplar, every bit of it.
type entry struct {
	time  int64
	start int64
	bits  uint64 // of the value
	blob  string // a histogram's wire bytes, an exemplar's labels
}

func (e entry) String() string {
	return fmt.Sprintf("time %d start %d bits %016x %x", e.time, e.start, e.bits, e.blob)
}

// history is what was sent or received, by series, in order. Exemplars are
// apart, since they come after the samples of their request.
type history map[string][]entry

// exemplars is what the name of a series' list of exemplars ends with.
const exemplars = " exemplars"

var deterministic = proto.MarshalOptions{Deterministic: true}

// seriesName writes labels in one form.
func seriesName(labels []*metricsv1.Label) string {
	var b strings.Builder
	for _, l := range labels {
		fmt.Fprintf(&b, ",%s=%q", l.GetName(), l.GetValue())
	}
	return b.String()
}

// addSent takes in a message of a request: what it has of one kind before the other
// is told by time.
func (h history) addSent(s *metricsv1.TimeSeries) {
	samples := s.GetSamples()
	for _, x := range s.GetHistograms() {
		n := 0
		for n < len(samples) && samples[n].GetTimestamp() <= x.GetTimestamp() {
			n++
		}
		h.add(&metricsv1.TimeSeries{Labels: s.GetLabels(), Samples: samples[:n], Histograms: []*metricsv1.Histogram{x}})
		samples = samples[n:]
	}
	h.add(&metricsv1.TimeSeries{Labels: s.GetLabels(), Samples: samples, Exemplars: s.GetExemplars()})
}

// add takes in a message of a stream.
func (h history) add(s *metricsv1.TimeSeries) {
	name := seriesName(s.GetLabels())
	list := h[name]
	for _, x := range s.GetSamples() {
		list = append(list, entry{time: x.GetTimestamp(), start: x.GetStartTimestamp(), bits: math.Float64bits(x.GetValue())})
	}
	for _, x := range s.GetHistograms() {
		wire, err := deterministic.Marshal(x)
		if err != nil {
			wire = []byte(err.Error())
		}
		list = append(list, entry{time: x.GetTimestamp(), blob: string(wire)})
	}
	if len(list) > 0 {
		h[name] = list
	}
	for _, x := range s.GetExemplars() {
		h[name+exemplars] = append(h[name+exemplars],
			entry{time: x.GetTimestamp(), bits: math.Float64bits(x.GetValue()), blob: seriesName(x.GetLabels())})
	}
}

// parse takes in messages, each after its length, and returns what does not
// make a whole one.
func (h history) parse(data []byte) ([]byte, error) {
	for {
		size, n := binary.Uvarint(data)
		if n <= 0 || uint64(len(data)-n) < size {
			return data, nil
		}
		s := new(metricsv1.TimeSeries)
		if err := proto.Unmarshal(data[n:n+int(size)], s); err != nil {
			return data, err
		}
		h.add(s)
		data = data[n+int(size):]
	}
}

// len counts all entries.
func (h history) len() (n int) {
	for _, list := range h {
		n += len(list)
	}
	return n
}

func (h history) clone() history {
	c := make(history, len(h))
	for name, list := range h {
		c[name] = slices.Clone(list)
	}
	return c
}

// difference between what was acknowledged and what came out.
type difference struct {
	lost       int // acknowledged, but not there
	duplicated int // there more often than it was acknowledged
	foreign    int // never acknowledged
	disordered int // series whose entries are all there, in another order
	evidence   []string
}

// mostEvidence is how many lines say what differs.
const mostEvidence = 40

func (d *difference) none() bool {
	return d.lost+d.duplicated+d.foreign+d.disordered == 0
}

func (d *difference) String() string {
	return fmt.Sprintf("%d lost, %d duplicated, %d foreign, %d series out of order\n\t%s",
		d.lost, d.duplicated, d.foreign, d.disordered, strings.Join(d.evidence, "\n\t"))
}

func (d *difference) say(format string, args ...any) {
	if len(d.evidence) < mostEvidence {
		d.evidence = append(d.evidence, fmt.Sprintf(format, args...))
	}
}

// compare says how got differs from want.
func compare(want, got history) *difference {
	d := new(difference)
	for name, list := range want {
		if !slices.Equal(list, got[name]) {
			d.series(name, list, got[name])
		}
	}
	for name, list := range got {
		if _, ok := want[name]; !ok {
			d.foreign += len(list)
			d.say("foreign series %s with %d entries, the first is %s", name, len(list), list[0])
		}
	}
	return d
}

func (d *difference) series(name string, want, got []entry) {
	counts := map[entry]int{}
	sent := map[entry]bool{}
	for _, e := range want {
		counts[e]++
		sent[e] = true
	}
	for _, e := range got {
		counts[e]--
	}
	same := true
	for e, n := range counts {
		switch {
		case n == 0:
			continue
		case n > 0:
			d.lost += n
			d.say("lost %d: %s %s (%d of %d)", n, name, e, slices.Index(want, e), len(want))
		case sent[e]:
			d.duplicated -= n
			d.say("duplicated %d: %s %s (%d of %d)", -n, name, e, slices.Index(want, e), len(want))
		default:
			d.foreign -= n
			d.say("foreign %d: %s %s", -n, name, e)
		}
		same = false
	}
	if same {
		d.disordered++
		d.say("out of order: %s", name)
	}
}
