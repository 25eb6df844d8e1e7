package stream

import (
	"bytes"
	"math"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// assembled assembles a response of one series from what a fuzzer made up, and the
// message that it should be.
func assembled(t *testing.T, label string, timestamp, start int64, bits, coalesced uint64, blob []byte) ([]byte, *metricsv1.GetMetricsResponse) {
	h := head.New()
	require.NoError(t, h.ApplyBlock(&segment.Block{Sequence: 1, Series: segment.TableOf(
		segment.Series{Ref: 1, Labels: segment.Labels{{Name: "__name__", Value: "x"}, {Name: "l", Value: label}}},
	)}))
	histogram := &metricsv1.Histogram{Sum: math.Float64frombits(bits), CustomValues: []float64{1, 2}, Timestamp: timestamp}
	data, err := proto.Marshal(histogram)
	require.NoError(t, err)
	exemplar := &metricsv1.Exemplar{Labels: []*metricsv1.Label{{Name: "b", Value: string(bytes.ToValidUTF8(blob, nil))}}, Timestamp: timestamp}
	exemplarData, err := proto.Marshal(exemplar)
	require.NoError(t, err)
	require.Equal(t, timestamp, exemplarTime(exemplarData))

	a := newAssembler()
	require.NoError(t, a.openSeries(1, h))
	a.float(timestamp, start, math.Float64frombits(bits))
	a.exemplar(exemplarData)
	a.histogram(data)
	a.coalesced(coalesced)
	a.reference = coalesced
	a.closeSeries()
	if coalesced != 0 {
		a.openReferenced(coalesced)
		a.float(timestamp, start, 1)
		a.exemplar(exemplarData)
		a.closeSeries()
	}
	require.ErrorIs(t, a.openSeries(2, h), errNoLabels)
	a.cursor("c")
	gap := &metricsv1.Gap{LogId: "l", AfterSequence: coalesced, NextSequence: bits, Reason: "r"}
	a.forget = coalesced%2 == 1
	a.event(gapEvent(gap))
	message := &metricsv1.GetMetricsResponse{
		Timeseries: []*metricsv1.TimeSeries{{
			Labels:     []*metricsv1.Label{{Name: "__name__", Value: "x"}, {Name: "l", Value: label}},
			Samples:    []*metricsv1.Sample{{Value: math.Float64frombits(bits), Timestamp: timestamp, StartTimestamp: start}},
			Exemplars:  []*metricsv1.Exemplar{exemplar},
			Histograms: []*metricsv1.Histogram{histogram},
			Coalesced:  coalesced,
			Ref:        coalesced,
		}},
		Cursor:           "c",
		Event:            &metricsv1.GetMetricsResponse_Gap{Gap: gap},
		ForgetReferences: coalesced%2 == 1,
	}
	if coalesced != 0 {
		sample := &metricsv1.Sample{Value: 1, Timestamp: timestamp, StartTimestamp: start}
		message.Timeseries = append(message.Timeseries, &metricsv1.TimeSeries{
			Ref: coalesced, Samples: []*metricsv1.Sample{sample}, Exemplars: []*metricsv1.Exemplar{exemplar},
		})
	}
	return a.message(), message
}

// What is assembled is byte for byte what the protobuf library makes, and Prometheus'
// own library reads the series.
func FuzzAssembledIsTheMessage(f *testing.F) {
	f.Add("v", int64(1700000000000), int64(5), math.Float64bits(1.5), uint64(3), []byte("trace"))
	f.Add("", int64(0), int64(0), uint64(0), uint64(0), []byte(nil))
	f.Add("stale", int64(-1), int64(math.MinInt64), uint64(0x7ff0000000000002), uint64(math.MaxUint64), bytes.Repeat([]byte("x"), 127))
	f.Add("long", int64(1), int64(1), math.Float64bits(math.Copysign(0, -1)), uint64(1), bytes.Repeat([]byte("x"), 20000))
	f.Add("longer", int64(1), int64(1), uint64(1), uint64(1), bytes.Repeat([]byte("x"), 3<<20))
	f.Fuzz(func(t *testing.T, label string, timestamp, start int64, bits, coalesced uint64, blob []byte) {
		label = "v" + string(bytes.ToValidUTF8([]byte(label), nil))
		got, message := assembled(t, label, timestamp, start, bits, coalesced, blob)
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))

		field, _, n := protowire.ConsumeTag(got)
		require.Equal(t, protowire.Number(fieldTimeSeries), field)
		series, _ := protowire.ConsumeBytes(got[n:])
		var theirs prompb.TimeSeries
		require.NoError(t, theirs.Unmarshal(series))
		require.Equal(t, []prompb.Label{{Name: "__name__", Value: "x"}, {Name: "l", Value: label}}, theirs.Labels)
		require.Equal(t, bits, math.Float64bits(theirs.Samples[0].Value))
		require.Equal(t, timestamp, theirs.Samples[0].Timestamp)
		require.Equal(t, bits, math.Float64bits(theirs.Histograms[0].Sum))
		require.Equal(t, timestamp, theirs.Exemplars[0].Timestamp)
	})
}

func FuzzExemplarTime(f *testing.F) {
	f.Add([]byte{0x19, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0x18, 0xff})
	f.Fuzz(func(_ *testing.T, data []byte) { exemplarTime(data) })
}
