package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

const (
	grpcMost = 4 << 20   // that clients of gRPC take by default
	response = 128 << 10 // at which one is sent
	part     = 1 << 20   // the most of labels, a histogram, or an exemplar
)

// sized returns an exemplar of about a size.
func sized(t testing.TB, value float64, size int) []byte {
	return wire(t, &metricsv1.Exemplar{
		Labels: []*metricsv1.Label{{Name: "trace_id", Value: strings.Repeat("x", size)}}, Value: value, Timestamp: 1,
	})
}

func sizedHistogram(t testing.TB, sum float64, at int64, size int) []byte {
	return wire(t, &metricsv1.Histogram{Sum: sum, Timestamp: at, CustomValues: make([]float64, size/8)})
}

// readBelow reads a stream, no response of which is above a size.
func readBelow(t testing.TB, recv receiver, most int) []*getResponse {
	got := all(t, recv)
	for _, r := range got {
		require.LessOrEqual(t, proto.Size(r), most)
	}
	return got
}

// However much of one series a block holds, it is split over responses.
func TestMuchOfOneSeries(t *testing.T) {
	src := newSource(t)
	const labels, histogramSize, exemplarSize, many = 64 << 10, 128 << 10, 1 << 10, 500
	series := fmt.Sprintf("m{l=%q}", strings.Repeat("l", labels))
	var block []point
	for i := range many {
		block = append(block,
			point{series: series, t: int64(i + 1), v: float64(i)},
			point{series: series, exemplar: sized(t, float64(i), exemplarSize)})
	}
	for i := range 20 {
		block = append(block, point{series: series, t: int64(many + i), histogram: sizedHistogram(t, float64(i), now(), histogramSize)})
	}
	src.write(block...)
	s := startFed(t, testConfig(t), src)
	want := lines(all(t, s.call(t, &getRequest{Start: sinceStart()}))...)
	require.Len(t, want, 2*many+20)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for _, references := range []bool{false, true} {
			recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: sinceStart(), LabelReferences: references})
			if references {
				recv, _ = restoring(t, recv)
				require.Equal(t, want, lines(all(t, recv)...))
				continue
			}
			require.Equal(t, want, lines(readBelow(t, recv, 2*response+labels+histogramSize)...))
		}
	})
}

// The largest part that a response may have fits into what clients of gRPC accept. What
// is larger is left out, with a gap, and the client gets past it.
func TestLargeParts(t *testing.T) {
	src := newSource(t)
	at := now()
	fits, labels := part-100, func(n int) string { return fmt.Sprintf("m{l=%q}", strings.Repeat("l", n)) }
	src.write(
		point{series: labels(fits), t: at, v: 1},
		point{series: labels(fits), t: at, histogram: sizedHistogram(t, 2, at, fits)},
		point{series: labels(fits), exemplar: sized(t, 3, fits)},
	)
	large := src.write(
		point{series: labels(part), t: at, v: 4},
		point{series: "a", t: at, histogram: sizedHistogram(t, 5, at, part)},
		point{series: "a", exemplar: sized(t, 6, part)},
		point{series: "a", t: at - 1, v: 7},
	)
	src.write(point{series: labels(part), t: at + 1, v: 8}, point{series: "b", t: at, v: 9})
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for _, references := range []bool{false, true} {
			recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: sinceStart(), LabelReferences: references})
			got := readBelow(t, recv, grpcMost)
			var gaps []*metricsv1.Gap
			for _, r := range got {
				if r.GetGap() != nil {
					gaps = append(gaps, r.GetGap())
				}
			}
			require.Len(t, lines(got...), 5, "1, 2, 3, 7 and 9")
			require.Len(t, gaps, 2)
			require.Equal(t, large-1, gaps[0].GetAfterSequence())
			require.Equal(t, large+1, gaps[0].GetNextSequence())
			require.Contains(t, gaps[0].GetReason(), "3 label sets, histograms or exemplars")

			latest := readBelow(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{LabelReferences: references}), grpcMost)
			require.Len(t, lines(latest...), 2, "2 and 9; the latest of a is the histogram")
		}
	})
	require.Contains(t, s.log.String(), "parts of series left out")
	require.NotZero(t, s.metric(t, "promgrpc_server_stream_left_out_total"))
}
