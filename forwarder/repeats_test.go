package forwarder

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/proto"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// repeatStep is a request with a sample, that is stored or dropped as a repeat.
type repeatStep struct {
	schema linkv1.Schema
	hint   histogram.CounterResetHint
	start  int64
	stored bool
}

// body has another series, too, since the same bytes would be the same request.
func (s repeatStep) body(t *testing.T, native bool, i int) []byte {
	sample := one(1, 50, "__name__", "a")
	if native {
		h := good()
		h.CounterResetHint = s.hint
		sample.samples, sample.histograms = nil, []prompb.Histogram{prompb.FromIntHistogram(50, h)}
	}
	series := []ts{sample, one(1, int64(i), "__name__", "other")}
	if s.schema == v1 {
		return bodyOf(t, v1, series...)
	}
	req := requestV2(series)
	if native {
		req.Timeseries[0].Histograms[0].StartTimestamp = s.start
	} else {
		req.Timeseries[0].Samples[0].StartTimestamp = s.start
	}
	b, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return compress(b)
}

// TestWhatARepeatAdds repeats a sample with what the sender did not say before: its
// start timestamp, or whether a counter was reset. That is learned, and a repeat that
// adds nothing is dropped, whoever sends it, also after a restart.
func TestWhatARepeatAdds(t *testing.T) {
	starts := []repeatStep{
		{schema: v2, stored: true}, {schema: v2, start: 3, stored: true}, {schema: v2, start: 3}, {schema: v2}, {schema: v1},
		{schema: v2, start: 4, stored: true}, {schema: v2, start: 4}, {schema: v1},
	}
	for _, test := range []struct {
		name   string
		native bool
		steps  []repeatStep
		start  int64 // in the end
	}{
		{"start of a float", false, starts, 4},
		{"start of a histogram", true, starts, 4},
		{"hint of a histogram", true, []repeatStep{
			{schema: v1, stored: true}, {schema: v1, hint: histogram.NotCounterReset, stored: true}, {schema: v2, hint: histogram.NotCounterReset}, {schema: v2},
			{schema: v2, hint: histogram.CounterReset, stored: true}, {schema: v2, hint: histogram.CounterReset, start: 3, stored: true},
			{schema: v1, hint: histogram.CounterReset},
		}, 3},
	} {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restarts=%v", test.name, restarts), func(t *testing.T) {
				c := testConfig(t.TempDir())
				r := start(t, c)
				for i, step := range test.steps {
					if restarts {
						r.stop()
						r = start(t, c)
					}
					before := testutil.ToFloat64(r.in.metrics.repeats)
					s := r.sender()
					v := s.mustStore(step.schema, step.body(t, test.native, i))
					_ = s.conn.Close() // so that nobody is waited for
					if n := v.GetSamplesWritten() + v.GetHistogramsWritten(); n != 2 {
						t.Errorf("step %d: %d written", i, n)
					}
					blocks := r.blocks()
					last := blocks[len(blocks)-1]
					if n := last.Samples.Len() + len(last.Histograms) - 1; len(blocks) != i+1 || (n == 1) != step.stored {
						t.Errorf("step %d: %d stored in block %d", i, n, len(blocks))
					}
					if got := testutil.ToFloat64(r.in.metrics.repeats) > before; got == step.stored {
						t.Errorf("step %d: counted as a repeat: %v", i, got)
					}
				}
				r.stop()
				l := r.latest(1)
				if test.native {
					l.StartTimestamp = startedAt(t, l.Histogram)
				}
				if l.StartTimestamp != test.start {
					t.Errorf("in the end it starts at %d", l.StartTimestamp)
				}
			})
		}
	}
}

func startedAt(t *testing.T, data []byte) int64 {
	t.Helper()
	var h metricsv1.Histogram
	if err := proto.Unmarshal(data, &h); err != nil {
		t.Fatal(err)
	}
	return h.GetStartTimestamp()
}

// TestWhatARepeatAddsInOneRequest has all of it in a request.
func TestWhatARepeatAddsInOneRequest(t *testing.T) {
	sample := ts{
		labels:  []string{"__name__", "a"},
		samples: []prompb.Sample{{Value: 1, Timestamp: 50}, {Value: 1, Timestamp: 50}, {Value: 1, Timestamp: 50}, {Value: 1, Timestamp: 50}},
		starts:  []int64{0, 3, 3, 0},
	}
	r := start(t, testConfig(t.TempDir()))
	v := r.sender().mustStore(v2, bodyOf(t, v2, sample))
	if n, repeats := r.blocks()[0].Samples.Len(), testutil.ToFloat64(r.in.metrics.repeats); v.GetSamplesWritten() != 4 || n != 2 || repeats != 2 {
		t.Errorf("%d stored, %v repeats: %v", n, repeats, v)
	}
	r.stop()
	if l := r.latest(1); l.StartTimestamp != 3 {
		t.Errorf("it starts at %d", l.StartTimestamp)
	}
}

// TestRepeatedExemplars has the latest exemplar of a series come again, in a request and
// in others, with a value of any bits, and others between.
func TestRepeatedExemplars(t *testing.T) {
	exemplar := func(value float64, id string) prompb.Exemplar {
		return prompb.Exemplar{Labels: []prompb.Label{{Name: "trace_id", Value: id}}, Value: value, Timestamp: 5}
	}
	for _, schema := range []linkv1.Schema{v1, v2} {
		t.Run(schema.String(), func(t *testing.T) {
			c := testConfig(t.TempDir())
			r := start(t, c)
			s := r.sender()
			repeats := 0.0
			for i, step := range []struct {
				exemplars []prompb.Exemplar
				stored    int
			}{
				{[]prompb.Exemplar{exemplar(1, "a"), exemplar(1, "a")}, 1},
				{[]prompb.Exemplar{exemplar(1, "a")}, 0},
				{[]prompb.Exemplar{exemplar(2, "a"), exemplar(2, "b"), exemplar(math.NaN(), "b"), exemplar(math.NaN(), "b")}, 3},
				{[]prompb.Exemplar{exemplar(math.NaN(), "b"), exemplar(math.Float64frombits(0x7ff8000000000002), "b")}, 1},
				{[]prompb.Exemplar{exemplar(1, "a")}, 1},
			} {
				if i%2 == 1 { // What the newest segment has is known again.
					_ = s.conn.Close()
					r.stop()
					r = start(t, c)
					s, repeats = r.sender(), 0
				}
				series := one(1, int64(i), "__name__", "a")
				series.exemplars = step.exemplars
				v := s.mustStore(schema, bodyOf(t, schema, series))
				repeats += float64(len(step.exemplars) - step.stored)
				blocks := r.blocks()
				if n := len(blocks[len(blocks)-1].Exemplars); n != step.stored || v.GetExemplarsWritten() != uint64(len(step.exemplars)) {
					t.Errorf("step %d: %d stored, %v", i, n, v)
				}
				if got := testutil.ToFloat64(r.in.metrics.repeats); got != repeats {
					t.Errorf("step %d: %v repeats, want %v", i, got, repeats)
				}
			}
		})
	}
}
