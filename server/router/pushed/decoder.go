package pushed

import (
	"fmt"
	"math"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/server/promql"
)

// decoder puts the responses of a call together into steps.
type decoder struct {
	part    *part
	labels  map[uint64]labels.Labels // by reference
	builder labels.ScratchBuilder
	// held is of labels with references, and of samples of steps that are not complete;
	// defined is of those labels alone.
	held, defined int64
	samples       map[int64]promql.Vector // by the time of the step
	notes         []string
	late          uint64
}

// What things take in memory, about.
const (
	sampleBytes = 64
	labelsBytes = 100
)

func newDecoder(p *part) *decoder {
	return &decoder{part: p, labels: map[uint64]labels.Labels{}, samples: map[int64]promql.Vector{}}
}

func (d *decoder) close() { _ = d.part.asking.hold(-d.held) }

func (d *decoder) hold(n int64) error {
	if err := d.part.asking.hold(n); err != nil {
		return err
	}
	d.held += n
	return nil
}

// add adds a response, and returns the last step that is complete with it, if one is.
func (d *decoder) add(wire []byte) (last int64, complete bool, err error) {
	var r queryv1.QueryResponse
	if err := proto.Unmarshal(wire, &r); err != nil {
		return 0, false, wrong("%v", err)
	}
	if r.GetForgetReferences() {
		clear(d.labels)
		if err := d.hold(-d.defined); err != nil {
			return 0, false, err
		}
		d.defined = 0
	}
	for _, s := range r.GetTimeseries() {
		if err := d.series(s); err != nil {
			return 0, false, err
		}
	}
	for _, a := range r.GetAnnotations() {
		d.notes = append(d.notes, a.GetText())
	}
	d.late += r.GetLateSamples()
	if r.GetEnd() != nil {
		return d.end()
	}
	if r.GetCursor() == "" || r.GetEvent() != nil {
		return 0, false, nil
	}
	last = r.GetEvaluated().AsTime().UnixMilli()
	return last, true, d.check(last)
}

// end completes all steps that were asked for: a group whose logs began after the last of
// them has nothing to say of any.
func (d *decoder) end() (last int64, complete bool, err error) {
	a, next := &d.part.asking.asked, d.part.next
	if next > a.To {
		return 0, false, nil
	}
	last = a.To - (a.To-next)%a.Step.Milliseconds()
	return last, true, d.check(last)
}

// wrong is an error of a server that does not keep to the API. Another one may.
func wrong(format string, args ...any) error {
	return connect.NewError(connect.CodeUnavailable, fmt.Errorf("a response to Query: "+format, args...))
}

func (d *decoder) series(s *metricsv1.TimeSeries) error {
	ls, err := d.labelsOf(s)
	if err != nil {
		return err
	}
	if err := d.hold(sampleBytes * int64(len(s.GetSamples())+4*len(s.GetHistograms()))); err != nil {
		return err
	}
	for _, p := range s.GetSamples() {
		if math.Float64bits(p.GetValue()) != value.StaleNaN {
			d.samples[p.GetTimestamp()] = append(d.samples[p.GetTimestamp()], promql.Sample{T: p.GetTimestamp(), F: p.GetValue(), Metric: ls})
		}
	}
	for _, h := range s.GetHistograms() {
		d.samples[h.GetTimestamp()] = append(d.samples[h.GetTimestamp()], promql.Sample{T: h.GetTimestamp(), H: histogramOf(h), Metric: ls})
	}
	return nil
}

// labelsOf are the labels of a series, which may define a reference, or have one alone.
func (d *decoder) labelsOf(s *metricsv1.TimeSeries) (labels.Labels, error) {
	if len(s.GetLabels()) == 0 && s.GetRef() != 0 {
		ls, ok := d.labels[s.GetRef()]
		if !ok {
			return ls, wrong("it has reference %d, which was not defined", s.GetRef())
		}
		return ls, nil
	}
	d.builder.Reset()
	for _, l := range s.GetLabels() {
		d.builder.Add(l.GetName(), l.GetValue())
	}
	d.builder.Sort()
	ls := d.builder.Labels()
	if s.GetRef() != 0 {
		d.labels[s.GetRef()] = ls
		n := labelsBytes + int64(ls.ByteSize())
		d.defined += n
		return ls, d.hold(n)
	}
	return ls, nil
}

// check checks that a step is one of those that were asked for, and that all samples are of
// such as are complete with it.
func (d *decoder) check(last int64) error {
	a, first := &d.part.asking.asked, d.part.next
	isStep := func(at int64) bool { return first <= at && at <= last && (at-first)%a.Step.Milliseconds() == 0 }
	if last > a.To || !isStep(last) {
		return wrong("a step at %d ms, where one at %d ms was to be next", last, first)
	}
	for at := range d.samples {
		if !isStep(at) {
			return wrong("samples at %d ms, which is no step", at)
		}
	}
	return nil
}

// take returns a step that is complete, of some up to a last one.
func (d *decoder) take(at, last int64) step {
	s := step{at: at, Answer: promql.Answer{Samples: d.samples[at], Annotations: d.notes}}
	delete(d.samples, at)
	for i := range s.Samples {
		s.bytes += sampleBytes
		if s.Samples[i].H != nil {
			s.bytes += 3 * sampleBytes
		}
	}
	d.held -= s.bytes // It is the step's from now on.
	if at == last {
		s.Late = d.late
		d.notes, d.late = nil, 0
	}
	return s
}

// histogramOf is a histogram as [promql.HistogramMessage] has it.
func histogramOf(m *metricsv1.Histogram) *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{
		Schema: m.GetSchema(), Count: m.GetCountFloat(), Sum: m.GetSum(), ZeroThreshold: m.GetZeroThreshold(), ZeroCount: m.GetZeroCountFloat(),
		PositiveSpans: spansOf(m.GetPositiveSpans()), PositiveBuckets: m.GetPositiveCounts(),
		NegativeSpans: spansOf(m.GetNegativeSpans()), NegativeBuckets: m.GetNegativeCounts(), CustomValues: m.GetCustomValues(),
	}
	if m.GetResetHint() == metricsv1.Histogram_RESET_HINT_GAUGE {
		h.CounterResetHint = histogram.GaugeType
	}
	return h
}

func spansOf(all []*metricsv1.BucketSpan) []histogram.Span {
	if len(all) == 0 {
		return nil
	}
	of := make([]histogram.Span, len(all))
	for i, s := range all {
		of[i] = histogram.Span{Offset: s.GetOffset(), Length: s.GetLength()}
	}
	return of
}
