package merge

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func wire(t testing.TB, m *metricsv1.GetMetricsResponse) []byte {
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	return b
}

func seriesOf(names ...string) (all []*metricsv1.TimeSeries) {
	for i, name := range names {
		all = append(all, &metricsv1.TimeSeries{
			Labels:  []*metricsv1.Label{{Name: "__name__", Value: name}},
			Samples: []*metricsv1.Sample{{Value: float64(i), Timestamp: int64(i + 1)}},
		})
	}
	return all
}

// What a message says is told apart, and a response that is made of it says the same.
func TestParse(t *testing.T) {
	gap, _ := proto.Marshal(&metricsv1.Gap{Reason: "x"})
	for title, tt := range map[string]struct {
		message *metricsv1.GetMetricsResponse
		want    response
	}{
		"nothing": {&metricsv1.GetMetricsResponse{}, response{}},
		"series":  {&metricsv1.GetMetricsResponse{Timeseries: seriesOf("a", "b"), Cursor: "c"}, response{cursor: []byte("c")}},
		"forget":  {&metricsv1.GetMetricsResponse{Timeseries: seriesOf("a"), ForgetReferences: true}, response{forget: true}},
		"gap":     {&metricsv1.GetMetricsResponse{Event: &metricsv1.GetMetricsResponse_Gap{Gap: &metricsv1.Gap{Reason: "x"}}}, response{event: fieldGap, content: gap}},
		"end":     {&metricsv1.GetMetricsResponse{Event: &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}}}, response{event: fieldEnd, content: []byte{}}},
	} {
		t.Run(title, func(t *testing.T) {
			tt.want.series = wire(t, &metricsv1.GetMetricsResponse{Timeseries: tt.message.GetTimeseries()})
			got, err := parse(wire(t, tt.message))
			require.NoError(t, err)
			require.Equal(t, string(tt.want.series), string(got.series))
			tt.want.series, got.series = nil, nil
			require.Equal(t, tt.want, got)
		})
	}
}

// Fields may come in any order, and others than are known among them.
func TestParseAnyOrder(t *testing.T) {
	message := append(wire(t, &metricsv1.GetMetricsResponse{Timeseries: seriesOf("a"), Cursor: "c"}), wire(t, &metricsv1.GetMetricsResponse{Timeseries: seriesOf("b")})...)
	message = protowire.AppendVarint(protowire.AppendTag(message, 99, protowire.VarintType), 7)
	got, err := parse(message)
	require.NoError(t, err)
	var names []string
	eachSeries(got.series, func(_, series []byte) bool {
		var ts metricsv1.TimeSeries
		require.NoError(t, proto.Unmarshal(series, &ts))
		names = append(names, ts.GetLabels()[0].GetValue())
		return true
	})
	require.Equal(t, []string{"a", "b"}, names)
	require.Equal(t, "c", string(got.cursor))
}

// Whatever a server sends, it is refused or passed on as a message that says the same.
func FuzzParse(f *testing.F) {
	f.Add(wire(f, &metricsv1.GetMetricsResponse{Timeseries: seriesOf("a", "b"), Cursor: "c", ForgetReferences: true}))
	f.Add([]byte{1<<3 | 2, 5, 0})
	f.Add([]byte{2<<3 | 2, 1, 'x', 1<<3 | 2, 0})
	f.Fuzz(func(t *testing.T, message []byte) {
		r, err := parse(message)
		var whole metricsv1.GetMetricsResponse
		if err != nil || proto.Unmarshal(message, &whole) != nil {
			return
		}
		var series metricsv1.GetMetricsResponse
		require.NoError(t, proto.Unmarshal(r.series, &series))
		require.Len(t, series.GetTimeseries(), len(whole.GetTimeseries()))
		n := 0
		eachSeries(r.series, func(_, _ []byte) bool { n++; return true })
		require.Len(t, whole.GetTimeseries(), n)
	})
}

// Responses are joined up to as much as a server's response has, and a gap goes with its
// own.
func TestJoin(t *testing.T) {
	add := func(p *pending, bytes int, gap string) {
		r := response{series: make([]byte, bytes)}
		if gap != "" {
			r.event, r.content = fieldGap, []byte(gap)
		}
		require.True(t, p.fits(bytes))
		p.add(r)
	}
	a, b, c := newPending(), newPending(), newPending()
	add(&a, 10, "")
	add(&a, 20, "")
	add(&b, 5, "")
	add(&c, mostJoined, "")
	require.False(t, c.fits(1), "there is enough for a response")
	out := newJoined()
	require.True(t, out.empty())
	require.True(t, out.join(&a))
	require.True(t, out.join(&b))
	require.False(t, out.join(&c), "it is the next response's")
	require.Len(t, out.wire, len(newJoined().wire)+35)

	out = newJoined()
	d := newPending()
	add(&d, 5, "gap")
	require.False(t, d.fits(0), "nothing comes after a gap in one response")
	require.True(t, out.join(&d))
	require.Equal(t, "gap", string(out.gap))
	require.False(t, out.join(&c))
}

func TestNumbers(t *testing.T) {
	n := newNumbers(3)
	seen := map[uint32]bool{}
	for {
		stride, number, ok := n.next()
		if !ok {
			break
		}
		require.Less(t, number, stride)
		require.False(t, seen[number])
		seen[number] = true
	}
	require.GreaterOrEqual(t, len(seen), 3*streamsPerGroup)
}
