package forwarder

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/segment"
)

// told is what a verdict says.
type told struct {
	Code                                     linkv1.Code
	Samples, Histograms, Exemplars, Rejected uint64
}

func toldBy(v *linkv1.Verdict) told {
	return told{v.GetCode(), v.GetSamplesWritten(), v.GetHistogramsWritten(), v.GetExemplarsWritten(), v.GetRejected()}
}

const (
	ok      = linkv1.Code_CODE_OK
	invalid = linkv1.Code_CODE_INVALID
)

// stored says what the log holds: a line a series, with the count of what
// belongs to it.
func stored(blocks []*segment.Block) map[string]int {
	names := map[uint64]string{}
	out := map[string]int{}
	for _, b := range blocks {
		for i, ref := range b.Series.Refs {
			var parts []string
			for _, l := range b.Series.AppendLabels(nil, i) {
				parts = append(parts, l.Name+"="+l.Value)
			}
			names[ref] = strings.Join(parts, ",")
			out[names[ref]] += 0
		}
		for s := range b.Samples.All() {
			out[names[s.Ref]]++
		}
		for _, h := range b.Histograms {
			out[names[h.Ref]]++
		}
		for _, e := range b.Exemplars {
			out[names[e.Ref]]++
		}
	}
	return out
}

func good() *histogram.Histogram {
	return &histogram.Histogram{
		Count: 3, Sum: 4, Schema: 0, PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{1, 1},
	}
}

func TestContent(t *testing.T) {
	mismatch := good()
	mismatch.Count = 2
	spans := good()
	spans.PositiveSpans[0].Length = 3
	custom := &histogram.Histogram{
		Count: 3, Sum: 4, Schema: histogram.CustomBucketsSchema, CustomValues: []float64{1},
		PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{1, 1},
	}
	floats := prompb.FromFloatHistogram(2, good().ToFloat(nil))
	long := strings.Repeat("x", 2000)
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("l%03d", i), "v")
	}
	for _, test := range []struct {
		name   string
		series []ts
		want   told
		errors []string
		stored map[string]int
	}{
		{"empty request", nil, told{Code: ok}, nil, map[string]int{}},
		{"one sample", []ts{one(1, 5, "__name__", "up", "job", "x")}, told{Code: ok, Samples: 1}, nil, map[string]int{"__name__=up,job=x": 1}},
		{"unsorted labels", []ts{one(1, 5, "job", "x", "__name__", "up")}, told{Code: ok, Samples: 1}, nil, map[string]int{"__name__=up,job=x": 1}},
		{"two spellings", []ts{one(1, 5, "job", "x", "__name__", "up"), one(1, 6, "__name__", "up", "job", "x"), one(1, 7, "__name__", "up", "empty", "", "job", "x")},
			told{Code: ok, Samples: 3}, nil, map[string]int{"__name__=up,job=x": 3}},
		{"the same set twice", []ts{one(1, 5, "__name__", "up"), one(1, 6, "__name__", "up")}, told{Code: ok, Samples: 2}, nil, map[string]int{"__name__=up": 2}},
		{"empty value", []ts{one(1, 5, "__name__", "up", "a", "")}, told{Code: ok, Samples: 1}, nil, map[string]int{"__name__=up": 1}},
		{"UTF-8 names", []ts{one(1, 5, "__name__", "température", "où", "là")}, told{Code: ok, Samples: 1}, nil, map[string]int{"__name__=température,où=là": 1}},
		{"duplicate name", []ts{one(1, 5, "__name__", "up", "a", "1", "a", "2"), one(1, 5, "__name__", "other")},
			told{invalid, 1, 0, 0, 1}, []string{`{__name__="up", a="1", a="2"}`, `duplicate label name "a"`}, map[string]int{"__name__=other": 1}},
		{"no metric name", []ts{one(1, 5, "job", "x")}, told{Code: invalid, Rejected: 1}, []string{`{job="x"}`, "no metric name"}, map[string]int{}},
		{"empty metric name", []ts{one(1, 5, "__name__", "", "job", "x")}, told{Code: invalid, Rejected: 1}, []string{"no metric name"}, map[string]int{}},
		{"no labels", []ts{one(1, 5)}, told{Code: invalid, Rejected: 1}, []string{"{}", "no metric name"}, map[string]int{}},
		{"empty name", []ts{one(1, 5, "", "x", "__name__", "up")}, told{Code: invalid, Rejected: 1}, []string{"empty label name"}, map[string]int{}},
		{"name not UTF-8", []ts{one(1, 5, "__name__", "up", "a\xff", "x")}, told{Code: invalid, Rejected: 1}, []string{`label name "a\xff" is not valid UTF-8`}, map[string]int{}},
		{"value not UTF-8", []ts{one(1, 5, "__name__", "up", "a", "\xff")}, told{Code: invalid, Rejected: 1}, []string{`value of label "a" is not valid UTF-8`}, map[string]int{}},
		{"too many labels", []ts{one(1, 5, append([]string{"__name__", "up"}, many...)...)}, told{Code: invalid, Rejected: 1}, []string{"more than 128 labels", "--limit.labels"}, map[string]int{}},
		{"long name", []ts{one(1, 5, "__name__", "up", long, "v")}, told{Code: invalid, Rejected: 1}, []string{"the limit is 1024", "--limit.label-name-length"}, map[string]int{}},
		{"long value", []ts{one(1, 5, "__name__", "up", "a", strings.Repeat("x", 20000))}, told{Code: invalid, Rejected: 1}, []string{"the limit is 16384", "--limit.label-value-length"}, map[string]int{}},
		{"histograms of all kinds", []ts{{labels: []string{"__name__", "h"}, histograms: []prompb.Histogram{prompb.FromIntHistogram(1, good()), floats, prompb.FromIntHistogram(3, custom)}}},
			told{Code: ok, Histograms: 3}, nil, map[string]int{"__name__=h": 3}},
		{"histogram with a wrong count", []ts{{labels: []string{"__name__", "h"}, histograms: []prompb.Histogram{prompb.FromIntHistogram(1, mismatch), prompb.FromIntHistogram(2, good())}}},
			told{Code: invalid, Histograms: 1, Rejected: 1}, []string{`{__name__="h"}`, "histogram at 1", "3 observations found in buckets, but the Count field is 2"}, map[string]int{"__name__=h": 1}},
		{"histogram with wrong spans", []ts{{labels: []string{"__name__", "h"}, histograms: []prompb.Histogram{prompb.FromIntHistogram(1, spans)}}},
			told{Code: invalid, Rejected: 1}, []string{"spans need 3 buckets, have 2"}, map[string]int{}},
		{"exemplars", []ts{{labels: []string{"__name__", "up"}, samples: []prompb.Sample{{Value: 1}}, exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "x"}}, Value: 2, Timestamp: 3}}}},
			told{Code: ok, Samples: 1, Exemplars: 1}, nil, map[string]int{"__name__=up": 2}},
		{"bad exemplar", []ts{{labels: []string{"__name__", "up"}, samples: []prompb.Sample{{Value: 1}}, exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "", Value: "x"}}}}}},
			told{Code: invalid, Samples: 1, Rejected: 1}, []string{"exemplar: empty label name"}, map[string]int{"__name__=up": 1}},
		{"odd times", []ts{{labels: []string{"__name__", "up"}, samples: []prompb.Sample{{Value: 1, Timestamp: -5}, {Value: math.Inf(1), Timestamp: math.MaxInt64}, {Value: 3, Timestamp: 0}}}},
			told{Code: ok, Samples: 3}, nil, map[string]int{"__name__=up": 3}},
	} {
		for _, schema := range []linkv1.Schema{v1, v2} {
			t.Run(fmt.Sprintf("%s/%s", test.name, schema), func(t *testing.T) {
				c := testConfig(t.TempDir())
				c.Future = 0 // some times are of the far future
				r := start(t, c)
				v := r.sender().send(schema, bodyOf(t, schema, test.series...))
				if diff := cmp.Diff(test.want, toldBy(v)); diff != "" {
					t.Errorf("verdict, want -, got +:\n%s", diff)
				}
				text := strings.Join(v.GetErrors(), "\n")
				for _, part := range test.errors {
					if !strings.Contains(text, part) {
						t.Errorf("%q is not in the errors:\n%s", part, text)
					}
				}
				if (len(v.GetErrors()) > 0) != (len(test.errors) > 0) {
					t.Errorf("errors: %q", v.GetErrors())
				}
				if diff := cmp.Diff(test.stored, stored(r.blocks())); diff != "" {
					t.Errorf("stored, want -, got +:\n%s", diff)
				}
			})
		}
	}
}

// TestContentOfOneSchema is about what only one of the schemas can say.
func TestContentOfOneSchema(t *testing.T) {
	marshalled := func(change func(series []ts) []byte) func() []byte {
		return func() []byte { return change([]ts{one(1, 5, "__name__", "up")}) }
	}
	raw2 := func(change func(b []byte) []byte) func() []byte {
		return marshalled(func(s []ts) []byte {
			b, _ := requestV2(s).Marshal()
			return change(b)
		})
	}
	for _, test := range []struct {
		name   string
		schema linkv1.Schema
		body   func() []byte // not compressed
		want   told
		reason string
	}{
		{"first symbol not empty", v2, marshalled(func(s []ts) []byte {
			req := requestV2(s)
			req.Symbols[0] = "oops"
			b, _ := req.Marshal()
			return b
		}), told{Code: invalid}, `symbols[0] is "oops"`},
		{"reference out of range", v2, marshalled(func(s []ts) []byte {
			req := requestV2(append(s, one(1, 5, "__name__", "neighbour")))
			req.Timeseries[0].LabelsRefs[1] = 99
			b, _ := req.Marshal()
			return b
		}), told{invalid, 1, 0, 0, 1}, "labels_refs point at symbol 99"},
		{"odd references", v2, marshalled(func(s []ts) []byte {
			req := requestV2(append(s, one(1, 5, "__name__", "neighbour")))
			req.Timeseries[0].LabelsRefs = req.Timeseries[0].LabelsRefs[:1]
			b, _ := req.Marshal()
			return b
		}), told{invalid, 1, 0, 0, 1}, "not pairs"},
		{"metadata out of range", v2, marshalled(func(s []ts) []byte {
			req := requestV2(append(s, one(1, 5, "__name__", "neighbour")))
			req.Timeseries[0].Metadata.HelpRef = 99
			b, _ := req.Marshal()
			return b
		}), told{invalid, 1, 0, 0, 1}, "metadata points at symbol 99"},
		{"neither samples nor histograms", v2, marshalled(func(s []ts) []byte {
			req := requestV2(s)
			req.Timeseries[0].Samples = nil
			b, _ := req.Marshal()
			return b
		}), told{Code: invalid}, `{__name__="up"}: it has neither samples nor histograms`},
		{"exemplars alone", v2, marshalled(func(s []ts) []byte {
			req := requestV2(s)
			req.Timeseries[0].Samples = nil
			req.Timeseries[0].Exemplars = []writev2.Exemplar{{LabelsRefs: req.Timeseries[0].LabelsRefs[:2], Value: 1, Timestamp: 5}}
			b, _ := req.Marshal()
			return b
		}), told{Code: ok, Exemplars: 1}, ""},
		{"neither samples nor histograms", v1, marshalled(func(s []ts) []byte {
			s[0].samples = nil
			b, _ := requestV1(s).Marshal()
			return b
		}), told{Code: ok}, ""},
		{"1.0 said to be 2.0", v2, marshalled(func(s []ts) []byte { b, _ := requestV1(s).Marshal(); return b }), told{Code: invalid}, "no field of its schema"},
		{"2.0 said to be 1.0", v1, raw2(func(b []byte) []byte { return b }), told{Code: invalid}, "no field of its schema"},
		{"cut off", v2, raw2(func(b []byte) []byte { return b[:len(b)-1] }), told{Code: invalid}, "not a valid protobuf message"},
		{"JSON", v1, func() []byte { return []byte(`{"timeseries":[]}`) }, told{Code: invalid}, "not a valid protobuf message"},
	} {
		t.Run(fmt.Sprintf("%s/%s", test.name, test.schema), func(t *testing.T) {
			r := start(t, testConfig(t.TempDir()))
			v := r.sender().send(test.schema, snappy.Encode(nil, test.body()))
			if diff := cmp.Diff(test.want, toldBy(v)); diff != "" {
				t.Errorf("verdict, want -, got +:\n%s", diff)
			}
			if text := strings.Join(v.GetErrors(), "\n"); !strings.Contains(text, test.reason) {
				t.Errorf("%q is not in the errors:\n%s", test.reason, text)
			}
		})
	}
}

func TestStartTimestamps(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	s := r.sender()
	// As of rc.4: on the sample.
	series := one(1, 50, "__name__", "a")
	series.starts = []int64{7}
	s.mustStore(v2, bodyOf(t, v2, series))
	// Until rc.3: created_timestamp, field 6 of the series.
	req := requestV2([]ts{{labels: []string{"__name__", "a"}, samples: []prompb.Sample{{Value: 1, Timestamp: 60}}, histograms: []prompb.Histogram{prompb.FromIntHistogram(61, good())}}})
	req.Timeseries[0].XXX_unrecognized = protowire.AppendVarint(protowire.AppendTag(nil, 6, protowire.VarintType), 9)
	b, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s.mustStore(v2, snappy.Encode(nil, b))

	blocks := r.blocks()
	if got := blocks[0].Samples.Starts; len(got) != 1 || got[0] != (segment.TimeRun{Time: 7, Length: 1}) {
		t.Errorf("rc.4: %v", got)
	}
	if got := blocks[1].Samples.Starts; len(got) != 1 || got[0] != (segment.TimeRun{Time: 9, Length: 1}) {
		t.Errorf("rc.3: %v", got)
	}
	data := blocks[1].Histograms[0].Data
	if want := protowire.AppendVarint(protowire.AppendTag(nil, 17, protowire.VarintType), 9); !strings.HasSuffix(string(data), string(want)) {
		t.Errorf("rc.3: histogram %x", data)
	}
}

func TestStaleMarkerIsKept(t *testing.T) {
	const marker = 0x7ff0000000000002
	for _, schema := range []linkv1.Schema{v1, v2} {
		r := start(t, testConfig(t.TempDir()))
		r.sender().mustStore(schema, bodyOf(t, schema, one(math.Float64frombits(marker), 5, "__name__", "a")))
		if got := math.Float64bits(r.blocks()[0].Samples.Values[0]); got != marker {
			t.Errorf("%s: %x", schema, got)
		}
	}
}

func TestOneBadSeriesInAHundred(t *testing.T) {
	for _, schema := range []linkv1.Schema{v1, v2} {
		r := start(t, testConfig(t.TempDir()))
		var series []ts
		for i := range 100 {
			series = append(series, one(float64(i), 5, "__name__", "up", "i", fmt.Sprint(i)))
		}
		series[42].labels = append(series[42].labels, "i", "again")
		v := r.sender().send(schema, bodyOf(t, schema, series...))
		if diff := cmp.Diff(told{invalid, 99, 0, 0, 1}, toldBy(v)); diff != "" {
			t.Errorf("verdict, want -, got +:\n%s", diff)
		}
		if len(v.GetErrors()) != 1 || !strings.Contains(v.GetErrors()[0], `i="42"`) {
			t.Errorf("errors: %q", v.GetErrors())
		}
		if n := len(stored(r.blocks())); n != 99 {
			t.Errorf("%d series stored", n)
		}
	}
}

func TestTooLarge(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		body   []byte
		reason string
	}{
		{"snappy bomb of 4 GiB", func(*Config) {}, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0xfe, 0x01, 0x00}, "--limit.decoded-bytes"},
		{"body", func(c *Config) { c.RequestBytes = 10 }, make([]byte, 20), "--limit.request-bytes"},
		{"series", func(c *Config) { c.Limits.Series = 1 }, bodyOf(t, v1, one(1, 5, "__name__", "a"), one(1, 5, "__name__", "b")), "--limit.series"},
		{"samples", func(c *Config) { c.Limits.Samples = 1 }, bodyOf(t, v1, one(1, 5, "__name__", "a"), one(1, 5, "__name__", "b")), "--limit.samples"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testConfig(t.TempDir())
			test.change(&c)
			r := start(t, c)
			s := r.sender()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			v := s.send(v1, test.body)
			runtime.ReadMemStats(&after)
			if v.GetCode() != linkv1.Code_CODE_TOO_LARGE || !strings.Contains(strings.Join(v.GetErrors(), "\n"), test.reason) {
				t.Errorf("verdict: %v", v)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
			if blocks := r.blocks(); len(blocks) > 0 {
				t.Errorf("%d blocks stored", len(blocks))
			}
		})
	}
}

// TestClaimBeyondWhatSnappyCan has a body within the limit that cannot be true.
func TestClaimBeyondWhatSnappyCan(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	v := r.sender().send(v1, []byte{0x80, 0x80, 0x80, 0x08, 0xfe, 0x01, 0x00})
	if v.GetCode() != invalid || !strings.Contains(strings.Join(v.GetErrors(), ""), "claims more") {
		t.Errorf("verdict: %v", v)
	}
}
