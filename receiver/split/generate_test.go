package split

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"
)

// generator makes bodies at random: labels in any order and twice, series twice, and
// samples, histograms and exemplars before and after all instants.
type generator struct{ *rand.Rand }

func (g generator) body() *prompb.WriteRequest {
	body := &prompb.WriteRequest{}
	for range g.IntN(30) {
		body.Timeseries = append(body.Timeseries, g.series())
	}
	if g.IntN(3) == 0 {
		for i := range g.IntN(4) {
			body.Metadata = append(body.Metadata, prompb.MetricMetadata{MetricFamilyName: fmt.Sprint("family_", i), Help: "help", Type: prompb.MetricMetadata_COUNTER})
		}
	}
	return body
}

// large has so many series, of one sample each.
func (g generator) large(n int) *prompb.WriteRequest {
	body := &prompb.WriteRequest{}
	for range n {
		body.Timeseries = append(body.Timeseries, prompb.TimeSeries{
			Labels:  append(g.labels(), prompb.Label{Name: "path", Value: fmt.Sprint("/", g.Uint64())}),
			Samples: []prompb.Sample{{Timestamp: 1000 + int64(g.IntN(2000)), Value: g.Float64()}},
		})
	}
	return body
}

func (g generator) series() prompb.TimeSeries {
	ts := prompb.TimeSeries{Labels: g.labels()}
	for range g.IntN(4) {
		ts.Samples = append(ts.Samples, prompb.Sample{Value: g.Float64(), Timestamp: g.time()})
	}
	for range g.IntN(8) / 5 {
		ts.Histograms = append(ts.Histograms, prompb.Histogram{
			Count: &prompb.Histogram_CountInt{CountInt: 3}, Sum: g.Float64(), Timestamp: g.time(),
			PositiveSpans: []prompb.BucketSpan{{Offset: -1, Length: 2}}, PositiveDeltas: []int64{1, 1},
		})
	}
	for range g.IntN(8) / 5 {
		ts.Exemplars = append(ts.Exemplars, prompb.Exemplar{
			Labels: []prompb.Label{{Name: "trace", Value: fmt.Sprint(g.IntN(50))}}, Value: g.Float64(), Timestamp: g.time(),
		})
	}
	return ts
}

func (g generator) time() int64 {
	return []int64{0, -5, 999, 1000, 1499, 1500, 1999, 2000, 2001, 1 << 40}[g.IntN(10)]
}

func (g generator) labels() []prompb.Label {
	labels := []prompb.Label{{Name: "__name__", Value: fmt.Sprint("metric_", g.IntN(9))}}
	for range g.IntN(3) {
		labels = append(labels, prompb.Label{Name: "instance", Value: fmt.Sprint("host-", g.IntN(20))})
	}
	for range g.IntN(3) {
		labels = append(labels, prompb.Label{Name: "job", Value: fmt.Sprint("job-", g.IntN(3))})
	}
	if g.IntN(4) == 0 {
		labels = append(labels, prompb.Label{Name: fmt.Sprintf("%0200d", g.IntN(3)), Value: "long"})
	}
	g.Shuffle(len(labels), func(i, j int) { labels[i], labels[j] = labels[j], labels[i] })
	return labels
}

// toV2 is a body of 2.0 that says the same, metadata of families apart.
func (g generator) toV2(body *prompb.WriteRequest) *writev2.Request {
	out := &writev2.Request{Symbols: []string{""}}
	known := map[string]uint32{}
	ref := func(text string) uint32 {
		if n, has := known[text]; has && g.IntN(20) > 0 { // Some are there twice.
			return n
		}
		known[text] = uint32(len(out.Symbols))
		out.Symbols = append(out.Symbols, text)
		return known[text]
	}
	refs := func(labels []prompb.Label) (all []uint32) {
		for _, l := range labels {
			all = append(all, ref(l.Name), ref(l.Value))
		}
		return all
	}
	for range g.IntN(200) {
		out.Symbols = append(out.Symbols, "nobody's")
	}
	for i := range body.Timeseries {
		ts := &body.Timeseries[i]
		series := writev2.TimeSeries{LabelsRefs: refs(ts.Labels)}
		for _, s := range ts.Samples {
			series.Samples = append(series.Samples, writev2.Sample{Value: s.Value, Timestamp: s.Timestamp})
		}
		for i := range ts.Histograms {
			raw, _ := ts.Histograms[i].Marshal()
			var h writev2.Histogram
			if h.Unmarshal(raw) == nil {
				series.Histograms = append(series.Histograms, h)
			}
		}
		for _, e := range ts.Exemplars {
			series.Exemplars = append(series.Exemplars, writev2.Exemplar{LabelsRefs: refs(e.Labels), Value: e.Value, Timestamp: e.Timestamp})
		}
		if g.IntN(2) == 0 {
			series.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: ref("help"), UnitRef: ref("unit")}
		}
		out.Timeseries = append(out.Timeseries, series)
	}
	return out
}

// plainV2 is toV2 as senders do it: each symbol once, and all of them used.
func plainV2(body *prompb.WriteRequest) *writev2.Request {
	table := writev2.NewSymbolTable()
	out := &writev2.Request{}
	for _, ts := range body.Timeseries {
		series := writev2.TimeSeries{}
		for _, l := range ts.Labels {
			series.LabelsRefs = append(series.LabelsRefs, table.Symbolize(l.Name), table.Symbolize(l.Value))
		}
		for _, s := range ts.Samples {
			series.Samples = append(series.Samples, writev2.Sample{Value: s.Value, Timestamp: s.Timestamp})
		}
		out.Timeseries = append(out.Timeseries, series)
	}
	out.Symbols = table.Symbols()
	return out
}

// fromV2 writes a body out. What it says of families has to be what toV2 wrote.
func fromV2(t testing.TB, body *writev2.Request) *prompb.WriteRequest {
	t.Helper()
	labels := func(refs []uint32) (all []prompb.Label) {
		for i := 0; i < len(refs); i += 2 {
			all = append(all, prompb.Label{Name: body.Symbols[refs[i]], Value: body.Symbols[refs[i+1]]})
		}
		return all
	}
	out := &prompb.WriteRequest{}
	for i := range body.Timeseries {
		ts := &body.Timeseries[i]
		series := prompb.TimeSeries{Labels: labels(ts.LabelsRefs)}
		for _, s := range ts.Samples {
			series.Samples = append(series.Samples, prompb.Sample{Value: s.Value, Timestamp: s.Timestamp})
		}
		for i := range ts.Histograms {
			raw, err := ts.Histograms[i].Marshal()
			require.NoError(t, err)
			var h prompb.Histogram
			require.NoError(t, h.Unmarshal(raw))
			series.Histograms = append(series.Histograms, h)
		}
		for _, e := range ts.Exemplars {
			series.Exemplars = append(series.Exemplars, prompb.Exemplar{Labels: labels(e.LabelsRefs), Value: e.Value, Timestamp: e.Timestamp})
		}
		if ts.Metadata.HelpRef > 0 {
			require.Equal(t, "help", body.Symbols[ts.Metadata.HelpRef])
			require.Equal(t, "unit", body.Symbols[ts.Metadata.UnitRef])
		}
		out.Timeseries = append(out.Timeseries, series)
	}
	return out
}
