package pushed

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/promql"
)

const second = 1000

// decoding is a decoder of steps of a second from 10 s on.
func decoding(bytes int64) (*decoder, *limit.Budget) {
	budget := limit.NewBudget("--limit.query-bytes", "bytes", bytes, bytes)
	a := &asking{groups: New(Config{}), asked: promql.Asked{Step: time.Second, From: 10 * second, To: promql.Follows, Hold: budget.Hold("peer")}}
	return newDecoder(&part{asking: a, next: a.asked.From}), budget
}

func wireOf(t testing.TB, r *queryv1.QueryResponse) []byte {
	t.Helper()
	wire, err := proto.Marshal(r)
	require.NoError(t, err)
	return wire
}

func seriesOf(ref uint64, name string, samples ...*metricsv1.Sample) *metricsv1.TimeSeries {
	s := &metricsv1.TimeSeries{Ref: ref, Samples: samples}
	if name != "" {
		s.Labels = []*metricsv1.Label{{Name: "a", Value: name}}
	}
	return s
}

func at(s int64, v float64) *metricsv1.Sample {
	return &metricsv1.Sample{Timestamp: s * second, Value: v}
}

func evaluated(r *queryv1.QueryResponse, s int64) *queryv1.QueryResponse {
	r.Cursor, r.Evaluated = "cursor", timestamppb.New(time.UnixMilli(s*second))
	return r
}

// A step is what its responses say, however many they are, and so are several that come
// together; nothing is held once all is given back.
func TestDecoder(t *testing.T) {
	d, budget := decoding(1 << 20)
	add := func(r *queryv1.QueryResponse) (steps []step) {
		t.Helper()
		last, complete, err := d.add(wireOf(t, r))
		require.NoError(t, err)
		for complete && d.part.next <= last {
			steps = append(steps, d.take(d.part.next, last))
			d.part.next += second
		}
		return steps
	}
	require.Empty(t, add(&queryv1.QueryResponse{Timeseries: []*metricsv1.TimeSeries{seriesOf(1, "x", at(10, 1)), seriesOf(2, "y", at(10, 2))}}))
	steps := add(evaluated(&queryv1.QueryResponse{
		Timeseries:  []*metricsv1.TimeSeries{{Histograms: []*metricsv1.Histogram{{Timestamp: 10 * second, Sum: 3, Count: &metricsv1.Histogram_CountFloat{CountFloat: 4}, PositiveSpans: []*metricsv1.BucketSpan{{Offset: 1, Length: 1}}, PositiveCounts: []float64{4}, ResetHint: metricsv1.Histogram_RESET_HINT_GAUGE}}}},
		Annotations: []*queryv1.Annotation{{Text: "note"}}, LateSamples: 5,
	}, 10))
	require.Len(t, steps, 1)
	require.EqualValues(t, 5, steps[0].Late)
	require.Equal(t, []string{"note"}, steps[0].Annotations)
	require.Equal(t, promql.Vector{
		{T: 10 * second, F: 1, Metric: labels.FromStrings("a", "x")}, {T: 10 * second, F: 2, Metric: labels.FromStrings("a", "y")},
		{T: 10 * second, H: &histogram.FloatHistogram{CounterResetHint: histogram.GaugeType, Sum: 3, Count: 4, PositiveSpans: []histogram.Span{{Offset: 1, Length: 1}}, PositiveBuckets: []float64{4}}},
	}, steps[0].Samples)
	d.part.release(&steps[0])

	require.Empty(t, add(&queryv1.QueryResponse{Event: &queryv1.QueryResponse_Synced{Synced: &metricsv1.Synced{}}}))
	require.Empty(t, add(evaluated(&queryv1.QueryResponse{Event: &queryv1.QueryResponse_Heartbeat{Heartbeat: &metricsv1.Heartbeat{}}}, 10)))

	// Of one that is gone comes a marker, and of a step in which nothing is left that alone.
	steps = add(evaluated(&queryv1.QueryResponse{Timeseries: []*metricsv1.TimeSeries{
		seriesOf(1, "", at(11, math.Float64frombits(value.StaleNaN)), at(13, 4)), seriesOf(2, "", at(11, 3)),
	}, LateSamples: 1}, 13))
	require.Len(t, steps, 3)
	require.Equal(t, promql.Vector{{T: 11 * second, F: 3, Metric: labels.FromStrings("a", "y")}}, steps[0].Samples)
	require.Empty(t, steps[1].Samples)
	require.Equal(t, promql.Vector{{T: 13 * second, F: 4, Metric: labels.FromStrings("a", "x")}}, steps[2].Samples)
	require.Equal(t, []uint64{0, 0, 1}, []uint64{steps[0].Late, steps[1].Late, steps[2].Late})
	for i := range steps {
		d.part.release(&steps[i])
	}
	d.close()
	require.Zero(t, budget.Used())
}

// With the end of a call all steps are complete that were asked for.
func TestDecoderEnd(t *testing.T) {
	d, _ := decoding(1 << 20)
	d.part.asking.asked.To = 12_500
	end := wireOf(t, &queryv1.QueryResponse{Event: &queryv1.QueryResponse_End{End: &metricsv1.End{}}})
	last, complete, err := d.add(end)
	require.NoError(t, err)
	require.True(t, complete)
	require.EqualValues(t, 12*second, last)
	require.Empty(t, d.take(10*second, last).Samples)

	d.part.next = 13 * second
	_, complete, err = d.add(end)
	require.NoError(t, err)
	require.False(t, complete, "they were before")
}

// What no server sends is an error, after which another one is asked.
func TestDecoderRefuses(t *testing.T) {
	for name, responses := range map[string][]*queryv1.QueryResponse{
		"a reference that is not defined": {{Timeseries: []*metricsv1.TimeSeries{seriesOf(7, "", at(10, 1))}}},
		"a reference that was forgotten": {
			{Timeseries: []*metricsv1.TimeSeries{seriesOf(7, "x", at(10, 1))}},
			{ForgetReferences: true, Timeseries: []*metricsv1.TimeSeries{seriesOf(7, "", at(11, 1))}},
		},
		"a step before the first":    {evaluated(&queryv1.QueryResponse{}, 9)},
		"a step between two":         {{Cursor: "c", Evaluated: &timestamppb.Timestamp{Seconds: 10, Nanos: 5e8}}},
		"no step":                    {{Cursor: "c"}},
		"a sample between two steps": {evaluated(&queryv1.QueryResponse{Timeseries: []*metricsv1.TimeSeries{seriesOf(0, "x", &metricsv1.Sample{Timestamp: 10_500})}}, 11)},
		"a sample of a later step":   {evaluated(&queryv1.QueryResponse{Timeseries: []*metricsv1.TimeSeries{seriesOf(0, "x", at(12, 1))}}, 11)},
	} {
		d, _ := decoding(1 << 20)
		var err error
		for _, r := range responses {
			_, _, err = d.add(wireOf(t, r))
		}
		require.Error(t, err, name)
		require.False(t, stays(err), name)
	}
	d, _ := decoding(100)
	_, _, err := d.add(wireOf(t, &queryv1.QueryResponse{Timeseries: []*metricsv1.TimeSeries{seriesOf(1, "x", at(10, 1))}}))
	require.ErrorContains(t, err, "--limit.query-bytes")
	require.True(t, stays(err))
}

// Whatever a server sends, a step has samples of its time alone, and what is held is given
// back.
func FuzzDecoder(f *testing.F) {
	f.Add(wireOf(f, &queryv1.QueryResponse{Timeseries: []*metricsv1.TimeSeries{seriesOf(1, "x", at(10, 1))}}), wireOf(f, evaluated(&queryv1.QueryResponse{
		Timeseries: []*metricsv1.TimeSeries{seriesOf(1, "", at(11, 1), at(12, 3)), {Histograms: []*metricsv1.Histogram{{Timestamp: 11 * second, PositiveSpans: []*metricsv1.BucketSpan{{Offset: -3, Length: 2}}}}}}, LateSamples: 3,
	}, 12)))
	f.Add([]byte{}, wireOf(f, evaluated(&queryv1.QueryResponse{ForgetReferences: true}, 10)))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d, budget := decoding(1 << 20)
		for _, wire := range [][]byte{first, second} {
			last, complete, err := d.add(wire)
			if err != nil {
				break
			}
			for n := 0; complete && d.part.next <= last && n < 100; n++ {
				s := d.take(d.part.next, last)
				for _, sample := range s.Samples {
					require.Equal(t, s.at, sample.T)
				}
				d.part.next += 1000
				d.part.release(&s)
			}
			if complete && d.part.next <= last {
				return // as far as it is looked at
			}
		}
		d.close()
		require.Zero(t, budget.Used())
	})
}
