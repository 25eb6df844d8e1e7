package promql

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/samples"
)

// Two logs have exemplars of one series. Each comes once, by timestamp, of those that are
// asked for.
func TestExemplars(t *testing.T) {
	dir := t.TempDir()
	of := func(at int64, trace string) []byte {
		data, err := proto.Marshal(&metricsv1.Exemplar{Labels: []*metricsv1.Label{{Name: "trace", Value: trace}}, Value: float64(at), Timestamp: at})
		require.NoError(t, err)
		return data
	}
	for _, list := range [][][]byte{{of(1000, "a"), of(3000, "c")}, {of(2000, "b"), of(3000, "c"), of(9000, "d")}} {
		w := newLogWriter(t, dir, 10000)
		b := &segment.Block{Time: 10000, Series: segment.TableOf(
			segment.Series{Ref: 1, Labels: segment.Labels{{Name: "__name__", Value: "m"}}}, segment.Series{Ref: 2, Labels: segment.Labels{{Name: "__name__", Value: "other"}}},
		)}
		for ref := range uint64(2) {
			b.Samples.Add(segment.Sample{Ref: ref + 1, Timestamp: 10000, Value: 1})
		}
		for _, data := range list {
			b.Exemplars = append(b.Exemplars, segment.Exemplar{Ref: 1, Data: data}, segment.Exemplar{Ref: 2, Data: data})
		}
		w.append(b)
		w.close()
	}
	e := openEngine(t, dir, DefaultConfig(), time.Hour)
	x, err := e.Parse(t.Context(), viewer, `rate(m[1m]) + m`)
	require.NoError(t, err)
	want := func(at int64, trace string) exemplar.Exemplar {
		return exemplar.Exemplar{Labels: labels.FromStrings("trace", trace), Value: float64(at), Ts: at, HasTs: true}
	}
	var got []samples.ExemplarSeries
	require.Eventually(t, func() bool { // The window is filled in the background.
		got, err = e.Exemplars(t.Context(), viewer, x, 1000, 8000)
		return err != nil || len(got) > 0 && len(got[0].Exemplars) == 3
	}, time.Minute, time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, []samples.ExemplarSeries{{Labels: labels.FromStrings("__name__", "m"), Exemplars: []exemplar.Exemplar{want(1000, "a"), want(2000, "b"), want(3000, "c")}}}, got)
}
