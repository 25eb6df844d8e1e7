package remotewrite

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

var stale = math.Float64frombits(0x7ff0000000000002)

func pairs(kv ...string) []prompb.Label {
	var ls []prompb.Label
	for i := 0; i+1 < len(kv); i += 2 {
		ls = append(ls, prompb.Label{Name: kv[i], Value: kv[i+1]})
	}
	return ls
}

func intHistogram() *histogram.Histogram {
	return &histogram.Histogram{
		Count: 12, ZeroCount: 2, ZeroThreshold: 0.001, Sum: 18.4, Schema: 1,
		PositiveSpans:   []histogram.Span{{Offset: 0, Length: 2}, {Offset: 1, Length: 2}},
		PositiveBuckets: []int64{1, 1, -1, 0},
		NegativeSpans:   []histogram.Span{{Offset: -3, Length: 2}, {Offset: 1, Length: 2}},
		NegativeBuckets: []int64{1, 1, -1, 0},
	}
}

func customHistogram() *histogram.Histogram {
	return &histogram.Histogram{
		Count: 5, Sum: 3, Schema: histogram.CustomBucketsSchema,
		PositiveSpans:   []histogram.Span{{Offset: 0, Length: 3}},
		PositiveBuckets: []int64{1, 1, -1},
		CustomValues:    []float64{0.1, 1},
	}
}

func fineHistogram() *histogram.Histogram {
	h := intHistogram()
	h.Schema = 11
	return h
}

func examplesV1() []*prompb.WriteRequest {
	bad := intHistogram()
	bad.Count = 99
	return []*prompb.WriteRequest{
		{},
		{Timeseries: []prompb.TimeSeries{
			{Labels: pairs("__name__", "up", "instance", "a:9090", "job", "x"), Samples: []prompb.Sample{{Value: 1, Timestamp: 1700000000000}}},
			{Labels: pairs("__name__", "stale"), Samples: []prompb.Sample{{Value: stale, Timestamp: 1}, {Value: math.Copysign(0, -1), Timestamp: -2}}},
			{Labels: pairs("job", "unsorted", "__name__", "up", "empty", ""), Samples: []prompb.Sample{{}}},
			{Labels: pairs("__name__", "twice", "a", "1", "a", "2"), Samples: []prompb.Sample{{Value: 1}}},
			{Labels: pairs("job", "nameless"), Samples: []prompb.Sample{{Value: 1}}},
			{Labels: pairs("__name__", "bad\xff"), Samples: []prompb.Sample{{Value: 1}}},
			{Labels: pairs("__name__", "nothing")},
		}},
		{Timeseries: []prompb.TimeSeries{{
			Labels: pairs("__name__", "h"),
			Histograms: []prompb.Histogram{
				prompb.FromIntHistogram(5, intHistogram()), prompb.FromFloatHistogram(6, intHistogram().ToFloat(nil)),
				prompb.FromIntHistogram(7, customHistogram()), prompb.FromFloatHistogram(8, customHistogram().ToFloat(nil)),
				prompb.FromIntHistogram(9, fineHistogram()), prompb.FromFloatHistogram(9, fineHistogram().ToFloat(nil)),
				prompb.FromIntHistogram(10, bad), {},
			},
			Exemplars: []prompb.Exemplar{
				{Labels: pairs("trace_id", "abc"), Value: 3, Timestamp: 4}, {Labels: pairs("", "x")}, {},
			},
		}}},
		{Metadata: []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "f", Help: "help", Unit: "seconds"}, {}}},
	}
}

// symbolTable gives symbols their references.
type symbolTable struct{ writev2.SymbolsTable }

func (s *symbolTable) refs(kv ...string) []uint32 {
	var refs []uint32
	for _, text := range kv {
		refs = append(refs, s.Symbolize(text))
	}
	return refs
}

func examplesV2() []*writev2.Request {
	bad := intHistogram()
	bad.Count = 99
	s := symbolTable{writev2.NewSymbolTable()}
	req := &writev2.Request{Timeseries: []writev2.TimeSeries{
		{LabelsRefs: s.refs("__name__", "up", "job", "x"), Samples: []writev2.Sample{{Value: 1, Timestamp: 5, StartTimestamp: 3}, {Value: stale, Timestamp: 6}}},
		{
			LabelsRefs: s.refs("__name__", "up", "job", "x"), Samples: []writev2.Sample{{Value: 1, Timestamp: 7}},
			Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: s.Symbolize("help"), UnitRef: s.Symbolize("unit")},
		},
		{LabelsRefs: s.refs("job", "x", "__name__", "unsorted", "empty", ""), Samples: []writev2.Sample{{Value: 1}}},
		{LabelsRefs: s.refs("job", "nameless"), Samples: []writev2.Sample{{Value: 1}}},
		{LabelsRefs: []uint32{1, 2, 3}, Samples: []writev2.Sample{{Value: 1}}},
		{LabelsRefs: []uint32{1, 2000}, Samples: []writev2.Sample{{Value: 1}}},
		{LabelsRefs: s.refs("__name__", "x"), Samples: []writev2.Sample{{Value: 1}}, Metadata: writev2.Metadata{HelpRef: 999}},
		{LabelsRefs: s.refs("__name__", "exemplar"), Exemplars: []writev2.Exemplar{{Value: 1}}},
		{
			LabelsRefs: s.refs("__name__", "h"),
			Histograms: []writev2.Histogram{
				writev2.FromIntHistogram(2, 5, intHistogram()), writev2.FromFloatHistogram(0, 6, intHistogram().ToFloat(nil)),
				writev2.FromIntHistogram(0, 7, customHistogram()), writev2.FromIntHistogram(4, 8, fineHistogram()),
				writev2.FromIntHistogram(0, 9, bad),
			},
			Exemplars: []writev2.Exemplar{{LabelsRefs: s.refs("trace_id", "abc"), Value: 3, Timestamp: 4}, {LabelsRefs: []uint32{77, 78}}, {LabelsRefs: s.refs("", "x")}},
		},
	}}
	req.Symbols = s.Symbols()
	return []*writev2.Request{{}, req, {Symbols: []string{"first"}}}
}

// steadyV1 is what a Prometheus sends over and over.
func steadyV1(series, at int) []byte {
	var req prompb.WriteRequest
	for i := range series {
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
			Labels:  steadyLabels(at + i),
			Samples: []prompb.Sample{{Value: float64(i), Timestamp: 1700000000000}},
		})
	}
	b, err := req.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

func steadyLabels(i int) []prompb.Label {
	return pairs(
		"__name__", fmt.Sprintf("http_request_duration_seconds_bucket_%d", i%50),
		"cluster", "production-eu-west-1", "code", fmt.Sprint(200+i%7), "container", "api-server",
		"endpoint", "https-metrics", "handler", fmt.Sprintf("/api/v1/resource/%d", i/50%100),
		"instance", fmt.Sprintf("10.0.%d.%d:8443", i/5000%250, i/1250000), "job", "kubernetes-service-endpoints",
		"le", "0.25", "namespace", "monitoring", "pod", fmt.Sprintf("api-server-%08d-%d", i/5000, i))
}

func steadyV2(series, at int) []byte {
	s := symbolTable{writev2.NewSymbolTable()}
	var req writev2.Request
	for i := range series {
		var kv []string
		for _, l := range steadyLabels(at + i) {
			kv = append(kv, l.Name, l.Value)
		}
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
			LabelsRefs: s.refs(kv...),
			Samples:    []writev2.Sample{{Value: float64(i), Timestamp: 1700000000000}},
			Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_HISTOGRAM, HelpRef: s.Symbolize(fmt.Sprintf("Help of family %d.", i%50))},
		})
	}
	req.Symbols = s.Symbols()
	b, err := req.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}
