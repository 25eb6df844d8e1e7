package server_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
)

func wire(t testing.TB, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	return b
}

func histogram(t testing.TB, at int64, sum float64) []byte {
	return wire(t, &metricsv1.Histogram{
		Count: &metricsv1.Histogram_CountInt{CountInt: 3}, Sum: sum, Schema: 2, ZeroThreshold: 1e-128,
		PositiveSpans: []*metricsv1.BucketSpan{{Offset: -3, Length: 2}}, PositiveDeltas: []int64{2, -1}, Timestamp: at,
	})
}

func exemplar(t testing.TB, at int64, value float64) []byte {
	return wire(t, &metricsv1.Exemplar{Labels: []*metricsv1.Label{{Name: "trace_id", Value: "x"}}, Value: value, Timestamp: at})
}

func TestSnapshot(t *testing.T) {
	src := newSource(t)
	at := now()
	src.write(point{series: `up{job="a"}`, t: at - 20, v: 1}, point{series: `up{job="b"}`, t: at - 20, v: 2})
	src.write(
		point{series: `up{job="a"}`, t: at - 10, v: math.Copysign(0, -1)},
		point{series: `gone`, t: at, v: 3},
		point{series: `h`, t: at, histogram: histogram(t, at, 7)},
		point{series: `gone_h`, t: at, histogram: histogram(t, at, staleNaN)},
		point{series: `only_exemplar`, exemplar: exemplar(t, at, 1)},
		point{series: `started`, t: at, v: math.Inf(1), start: at - 1000},
	)
	src.write(point{series: `gone`, t: at + 1, v: staleNaN}, point{series: `up{job="b"}`, t: at - 30, v: 99})
	s := startFed(t, testConfig(t), src)

	overAll(t, func(t *testing.T, p protocol) {
		for _, tt := range []struct {
			selectors []string
			want      []string
		}{
			{nil, []string{
				fmt.Sprintf(`up{job="a"} -0 @%d`, at-10),
				fmt.Sprintf(`up{job="b"} 2 @%d`, at-20),
				fmt.Sprintf(`h histogram sum 7 @%d`, at),
				fmt.Sprintf(`started +Inf @%d from %d`, at, at-1000),
			}},
			{[]string{`up{job!="a"}`, `{__name__=~"st.*|h"}`}, []string{
				fmt.Sprintf(`up{job="b"} 2 @%d`, at-20),
				fmt.Sprintf(`h histogram sum 7 @%d`, at),
				fmt.Sprintf(`started +Inf @%d from %d`, at, at-1000),
			}},
			{[]string{`up`, `up{job="a"}`}, []string{
				fmt.Sprintf(`up{job="a"} -0 @%d`, at-10),
				fmt.Sprintf(`up{job="b"} 2 @%d`, at-20),
			}},
			{[]string{`nothing`}, nil},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			got := all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Selectors: tt.selectors}))
			cancel()
			require.Equal(t, tt.want, lines(got...), "%v", tt.selectors)
			require.NotEmpty(t, lastCursor(got))
		}
	})
}

// The first response is small, so that it comes at once, and each is up to twice as
// large as the last, up to the bound that the API states.
func TestResponsesGrow(t *testing.T) {
	const first, most, last = 16 << 10, 128 << 10, 1 << 10 // the last series and the cursor come on top
	src := newSource(t)
	src.append(tenLabels(0, 2500))
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		largest, bound := 0, first
		for _, r := range all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{})) {
			size := proto.Size(r)
			require.LessOrEqual(t, size, bound+last)
			largest, bound = max(largest, size), min(2*bound, most)
		}
		require.Greater(t, largest, most/2)
	})
}

func TestSince(t *testing.T) {
	src := newSource(t)
	at := now()
	src.write(point{series: `a`, t: at - 100, v: 1}, point{series: `b`, t: at - 50, v: 2})
	src.rotate()
	src.write(point{series: `a`, t: at - 40, v: 3}, point{series: `a`, t: at - 90, v: 4}, point{series: `b`, exemplar: exemplar(t, at-99, 1)})
	src.write(point{series: `a`, t: at, v: staleNaN}, point{series: `b`, exemplar: exemplar(t, at, 2)}, point{series: `b`, t: at, histogram: histogram(t, at, 5)})
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		since := &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(at - 50))}
		got := all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: since}))
		require.Equal(t, []string{
			fmt.Sprintf(`b 2 @%d`, at-50),
			fmt.Sprintf(`a 3 @%d`, at-40),
			fmt.Sprintf(`a NaN @%d`, at),
			fmt.Sprintf(`b histogram sum 5 @%d`, at),
			fmt.Sprintf(`b exemplar 2 @%d`, at),
		}, lines(got...))
		if p.lossy {
			return
		}
		for _, r := range got {
			for _, ts := range r.GetTimeseries() {
				for _, sample := range ts.GetSamples() {
					if math.IsNaN(sample.GetValue()) {
						require.Equal(t, math.Float64bits(staleNaN), math.Float64bits(sample.GetValue()))
					}
				}
			}
		}
	})
}

// Times at and before the epoch are times, too.
func TestSinceTheEpoch(t *testing.T) {
	src := newSource(t)
	src.write(point{series: `a`, t: -1, v: 1}, point{series: `a`, t: 0, v: 2}, point{series: `a`, t: 1, v: 3})
	src.write(point{series: `b`, t: -1, v: 4}, point{series: `b`, t: 0, v: 5})
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for since, want := range map[time.Time][]string{
			{}:                  {`a 1 @-1`, `a 2 @0`, `a 3 @1`, `b 4 @-1`, `b 5 @0`},
			time.UnixMilli(-1):  {`a 1 @-1`, `a 2 @0`, `a 3 @1`, `b 4 @-1`, `b 5 @0`},
			time.UnixMicro(-5):  {`a 2 @0`, `a 3 @1`, `b 5 @0`},
			time.UnixMilli(0):   {`a 2 @0`, `a 3 @1`, `b 5 @0`},
			time.UnixMilli(1):   {`a 3 @1`},
			time.UnixMicro(500): {`a 3 @1`},
		} {
			start := &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(since)}
			got := all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: start}))
			require.Equal(t, want, lines(got...), since)
		}
	})
	// The cursor says it, too: of the second block, which comes after it.
	parsed, err := cursor.Parse(all(t, s.call(t, &getRequest{
		Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(0))},
	}))[0].GetCursor())
	require.NoError(t, err)
	parsed.Positions[0].Sequence, parsed.Positions[0].Entries = 1, 0
	require.Equal(t, []string{`b 5 @0`}, lines(all(t, s.call(t, &getRequest{Start: after(parsed.String())}))...))
}

func TestFollow(t *testing.T) {
	src := newSource(t)
	at := now()
	src.write(point{series: `a`, t: at, v: 1}, point{series: `b`, t: at, v: 2})
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{
			Selectors: []string{`a`, `{new="yes"}`}, Follow: true, HeartbeatInterval: durationpb.New(200 * time.Millisecond),
		})
		got := until(t, recv, isSynced)
		require.NotEmpty(t, lines(got...))
		at++
		series := fmt.Sprintf(`x{new="yes",p="%s"}`, p.name)
		src.write(point{series: `b`, t: at, v: 3}, point{series: series, t: at, v: 4})
		src.write(point{series: `a`, t: at, v: 5})
		var live []string
		got = until(t, recv, func(r *getResponse) bool {
			live = append(live, lines(r)...)
			return len(live) >= 2
		})
		require.Equal(t, []string{fmt.Sprintf(`%s 4 @%d`, series, at), fmt.Sprintf(`a 5 @%d`, at)}, live)
		// Nothing selected comes, yet the cursor gets on.
		before := lastCursor(got)
		src.write(point{series: `b`, t: at + 1, v: 3})
		got = until(t, recv, func(r *getResponse) bool { return r.GetHeartbeat() != nil && r.GetCursor() != before })
		require.Empty(t, lines(got...))
	})
}

// The last sample of an interval is sent, and how many came before it. Where an interval
// ends depends on time, but is not within a block.
func TestMinInterval(t *testing.T) {
	src := newSource(t)
	at := now()
	src.write(point{series: `a`, t: at, v: 0})
	s := startFed(t, testConfig(t), src)
	coalesced := 0
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, MinInterval: durationpb.New(300 * time.Millisecond)})
		synced := lastCursor(until(t, recv, isSynced))
		for i := range 5 {
			first, last := float64(2*i), float64(2*i+1)
			src.write(point{series: `a`, t: at, v: first}, point{series: `a`, t: at, v: last}, point{series: `a`, exemplar: exemplar(t, at, last)})
		}
		for seen := 0; seen < 10; {
			r, err := recv()
			require.NoError(t, err)
			for _, ts := range r.GetTimeseries() {
				seen += 1 + int(ts.GetCoalesced())
				coalesced += int(ts.GetCoalesced())
				require.Len(t, ts.GetSamples(), 1)
				require.Equal(t, float64(seen-1), ts.GetSamples()[0].GetValue())
				require.Len(t, ts.GetExemplars(), 1)
				require.Equal(t, float64(seen-1), ts.GetExemplars()[0].GetValue())
				require.NotEqual(t, synced, r.GetCursor())
			}
		}
	})
	require.GreaterOrEqual(t, coalesced, 5*len(protocols))
	require.Equal(t, float64(coalesced), s.metric(t, "promgrpc_server_samples_coalesced_total"))
}
