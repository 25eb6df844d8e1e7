package promapi

import (
	"encoding/json"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/promql"
)

func TestTimestamps(t *testing.T) {
	for ms, want := range map[int64]string{
		0: "0", 1: "0.001", 20: "0.020", 300: "0.300", 1000: "1", 1435781451781: "1435781451.781", -1: "-0.001", -1500: "-1.500",
	} {
		var e encoder
		e.timestamp(ms)
		require.Equal(t, want, string(e.buf))
	}
}

func TestFloats(t *testing.T) {
	for _, test := range []struct {
		value float64
		want  string
	}{
		{0, "0"}, {math.Copysign(0, -1), "-0"}, {1.5, "1.5"}, {1e20, "100000000000000000000"}, {1e21, "1e+21"}, {1e-6, "0.000001"}, {-1e-7, "-1e-07"},
		{math.Inf(1), "+Inf"}, {math.Inf(-1), "-Inf"}, {math.NaN(), "NaN"},
	} {
		var e encoder
		e.float(test.value)
		require.Equal(t, `"`+test.want+`"`, string(e.buf))
	}
}

// Values as Prometheus' own documentation has them.
func TestValues(t *testing.T) {
	metric := labels.FromStrings("__name__", "up", "job", `a "quoted"`)
	h := &histogram.FloatHistogram{
		Count: 7, Sum: -1.5, ZeroThreshold: 0.001, ZeroCount: 2, Schema: 0,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 3}}, PositiveBuckets: []float64{2, 0, 1},
		NegativeSpans: []histogram.Span{{Offset: 1, Length: 1}}, NegativeBuckets: []float64{2},
	}
	custom := &histogram.FloatHistogram{
		Count: 3, Sum: 2, Schema: histogram.CustomBucketsSchema, CustomValues: []float64{1, 2},
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 3}}, PositiveBuckets: []float64{1, 1, 1},
	}
	for _, test := range []struct {
		value parser.Value
		want  string
	}{
		{promql.Scalar{T: 1500, V: 2}, `{"resultType":"scalar","result":[1.5,"2"]}`},
		{promql.String{T: 1000, V: "x\n"}, `{"resultType":"string","result":[1,"x\n"]}`},
		{promql.Vector{}, `{"resultType":"vector","result":[]}`},
		{promql.Matrix{}, `{"resultType":"matrix","result":[]}`},
		{promql.Vector{{T: 1, F: math.NaN(), Metric: metric}, {T: 1, F: 3, Metric: labels.EmptyLabels()}}, `{"resultType":"vector","result":[
			{"metric":{"__name__":"up","job":"a \"quoted\""},"value":[0.001,"NaN"]},{"metric":{},"value":[0.001,"3"]}]}`},
		{promql.Vector{{T: 1, H: h, Metric: metric}}, `{"resultType":"vector","result":[
			{"metric":{"__name__":"up","job":"a \"quoted\""},"histogram":[0.001,{"count":"7","sum":"-1.5","buckets":[
			[1,"-2","-1","2"],[3,"-0.001","0.001","2"],[0,"0.5","1","2"],[0,"2","4","1"]]}]}]}`},
		{promql.Vector{{T: 1, H: custom}}, `{"resultType":"vector","result":[{"metric":{},"histogram":[0.001,{"count":"3","sum":"2","buckets":[
			[3,"-Inf","1","1"],[0,"1","2","1"],[0,"2","+Inf","1"]]}]}]}`},
		{promql.Vector{{T: 1, H: &histogram.FloatHistogram{}}}, `{"resultType":"vector","result":[{"metric":{},"histogram":[0.001,{"count":"0","sum":"0"}]}]}`},
		{
			promql.Matrix{{Metric: metric, Floats: []promql.FPoint{{T: 1000, F: 1}, {T: 2000, F: 2}}, Histograms: []promql.HPoint{{T: 3000, H: &histogram.FloatHistogram{Count: 1}}}}},
			`{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a \"quoted\""},"values":[[1,"1"],[2,"2"]],"histograms":[[3,{"count":"1","sum":"0"}]]}]}`,
		},
	} {
		var e encoder
		e.result(test.value)
		e.raw("}")
		require.JSONEq(t, test.want, string(e.buf))
		require.NotContains(t, string(e.buf), " [")
	}
}

// Strings come out of any JSON decoder as they went in.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\\n\r\t\x00\x1f<&>", "ü€😀\u2028", "\xff\xc3", "a\xffb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var e encoder
		e.text(s)
		require.True(t, utf8.Valid(e.buf))
		var got string
		require.NoError(t, json.Unmarshal(e.buf, &got))
		// Each byte that is none of a rune becomes one, as range has it.
		require.Equal(t, string([]rune(s)), got)
	})
}
