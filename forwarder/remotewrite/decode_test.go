package remotewrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

func TestExamples(t *testing.T) {
	r := NewRequest(DefaultLimits())
	for i, req := range examplesV1() {
		b, _ := req.Marshal()
		if err := decode(r, V1, b); err != nil {
			t.Fatalf("1.0, %d: %v", i, err)
		}
		var ref prompb.WriteRequest // what arrives: marshalling makes -0 into 0
		if err := ref.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		compare(t, "1.0", contentV1(&ref), decodedContent(t, r, true))
	}
	for i, req := range examplesV2()[:2] {
		b, _ := req.Marshal()
		if err := decode(r, V2, b); err != nil {
			t.Fatalf("2.0, %d: %v", i, err)
		}
		var ref writev2.Request
		if err := ref.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		compare(t, "2.0", contentV2(&ref), decodedContent(t, r, true))
	}
}

// TestSchemasAgree on the labels of a series, so that it is one series however
// it is sent.
func TestSchemasAgree(t *testing.T) {
	one, two := NewRequest(DefaultLimits()), NewRequest(DefaultLimits())
	if err := decode(one, V1, steadyV1(100, 0)); err != nil {
		t.Fatal(err)
	}
	if err := decode(two, V2, steadyV2(100, 0)); err != nil {
		t.Fatal(err)
	}
	for i := range one.Series {
		a, b := &one.Series[i], &two.Series[i]
		if wire := wireOf(one, a); wire != wireOf(two, b) {
			t.Fatalf("series %d: %q and %q", i, wire, wireOf(two, b))
		}
		ls, err := labelsOf(one, a)
		if err != nil {
			t.Fatal(err)
		}
		if canonicalKey(ls) != one.Key(a) {
			t.Fatalf("series %d is not spelt as it should be", i)
		}
	}
}

// TestKeysOfReferences checks that the key of a 2.0 series is that of its labels,
// wherever their symbols stand, and of no others.
func TestKeysOfReferences(t *testing.T) {
	keys := map[Key]string{}
	for _, symbols := range [][]string{
		{"", "a", "b", "c", "d"}, {"", "d", "c", "b", "a"}, {"", "x", "b", "y", "a", "d", "z", "c"},
	} {
		ref := func(text string) uint32 { return uint32(slices.Index(symbols, text)) }
		sample := []writev2.Sample{{Value: 1, Timestamp: 2}}
		body := writev2.Request{Symbols: symbols}
		for _, text := range []string{"abcd", "cdab", "acbd", "abdc", "ab", "abab", "dcba"} {
			var refs []uint32
			for _, c := range text {
				refs = append(refs, ref(string(c)))
			}
			body.Timeseries = append(body.Timeseries, writev2.TimeSeries{LabelsRefs: refs, Samples: sample})
		}
		raw, err := body.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		r := NewRequest(DefaultLimits())
		if err := r.scan(V2, raw); err != nil {
			t.Fatal(err)
		}
		for i := range r.Series {
			s := &r.Series[i]
			if known, ok := keys[r.Key(s)]; ok && known != wireOf(r, s) {
				t.Errorf("%q has the key of %q", wireOf(r, s), known)
			}
			keys[r.Key(s)] = wireOf(r, s)
			if r.Key(s).A != s.Hash {
				t.Errorf("the hash of %q is not half of its key", wireOf(r, s))
			}
		}
	}
	if len(keys) != 7 {
		t.Errorf("%d keys for 7 label sets", len(keys))
	}
}

// TestLabelsOfManySeries has series that share labels with the one before in every
// way, some in no order, with duplicates, without values or a name.
func TestLabelsOfManySeries(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"__name__", "a", "b", "c", "d", "Z", "\xff"}
	one, two := NewRequest(DefaultLimits()), NewRequest(DefaultLimits())
	for range 300 {
		var v1 prompb.WriteRequest
		v2 := writev2.Request{}
		symbols := writev2.NewSymbolTable()
		var ls []prompb.Label
		for range 30 {
			switch random.IntN(4) {
			case 0:
				ls = nil
				for range random.IntN(6) {
					ls = append(ls, prompb.Label{Name: names[random.IntN(len(names))], Value: []string{"", "x", "y"}[random.IntN(3)]})
				}
			case 1:
				ls = slices.Clone(ls)
				slices.SortFunc(ls, func(a, b prompb.Label) int { return strings.Compare(a.Name, b.Name) })
			case 2:
				ls = append([]prompb.Label{{Name: "__name__", Value: "m"}}, ls...)
			default:
				if ls = slices.Clone(ls); len(ls) > 0 {
					ls[random.IntN(len(ls))].Value = fmt.Sprint(random.IntN(3))
				}
			}
			v1.Timeseries = append(v1.Timeseries, prompb.TimeSeries{Labels: ls, Samples: []prompb.Sample{{Value: 1, Timestamp: 2}}})
			var refs []uint32
			for _, l := range ls {
				refs = append(refs, symbols.Symbolize(l.Name), symbols.Symbolize(l.Value))
			}
			v2.Timeseries = append(v2.Timeseries, writev2.TimeSeries{LabelsRefs: refs, Samples: []writev2.Sample{{Value: 1, Timestamp: 2}}})
		}
		v2.Symbols = symbols.Symbols()
		raw, err := v1.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(one, V1, raw); err != nil {
			t.Fatal(err)
		}
		compare(t, "1.0", contentV1(&v1), decodedContent(t, one, true))
		if raw, err = v2.Marshal(); err != nil {
			t.Fatal(err)
		}
		if err := decode(two, V2, raw); err != nil {
			t.Fatal(err)
		}
		compare(t, "2.0", contentV2(&v2), decodedContent(t, two, true))
	}
}

// TestReferencesThatAreNotPacked come one by one, or in parts.
func TestReferencesThatAreNotPacked(t *testing.T) {
	series := []byte{0x08, 1, 0x0a, 2, 2, 3, 0x08, 4, 0x12, 9, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}
	var body []byte
	for _, symbol := range []string{"", "__name__", "b", "c", "d"} {
		body = append(append(body, 0x22, byte(len(symbol))), symbol...)
	}
	body = append(append(body, 0x2a, byte(len(series))), series...)
	r := NewRequest(DefaultLimits())
	if err := r.scan(V2, body); err != nil {
		t.Fatal(err)
	}
	ls, err := labelsOf(r, &r.Series[0])
	if want := (segment.Labels{{Name: "__name__", Value: "b"}, {Name: "c", Value: "d"}}); err != nil || !slices.Equal(ls, want) {
		t.Errorf("%v %v", ls, err)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	h := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:     pairs("__name__", "h"),
		Histograms: []prompb.Histogram{prompb.FromIntHistogram(5, intHistogram()), prompb.FromFloatHistogram(6, customHistogram().ToFloat(nil))},
		Exemplars:  []prompb.Exemplar{{Labels: pairs("trace_id", "abc"), Value: 3}},
	}}}
	hist, _ := h.Marshal()
	for _, test := range []struct {
		name   string
		schema Schema
		body   []byte
	}{
		{"1.0", V1, steadyV1(2000, 0)}, {"2.0", V2, steadyV2(2000, 0)}, {"histograms", V1, hist},
	} {
		r := NewRequest(DefaultLimits())
		body := snappy.Encode(nil, test.body)
		if n := testing.AllocsPerRun(20, func() {
			if err := r.Decode(test.schema, body); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", test.name, n)
		}
	}
}

// TestCutAndFlipped goes through every way in which one byte can be missing or
// wrong: nothing may panic, and nothing but what is valid may come out.
func TestCutAndFlipped(t *testing.T) {
	r := NewRequest(DefaultLimits())
	try := func(schema Schema, b []byte) {
		if r.reset(); r.scan(schema, b) == nil {
			decodedContent(t, r, true)
		}
	}
	every := func(schema Schema, b []byte) {
		for i := range b {
			try(schema, b[:i])
			for bit := range 8 {
				b[i] ^= 1 << bit
				try(schema, b)
				b[i] ^= 1 << bit
			}
		}
	}
	for _, req := range examplesV1() {
		b, _ := req.Marshal()
		every(V1, b)
	}
	for _, req := range examplesV2() {
		b, _ := req.Marshal()
		every(V2, b)
	}
}

func TestProblems(t *testing.T) {
	r := NewRequest(DefaultLimits())
	s := &Series{labels: []byte("\x0a\x0d\x0a\x08__name__\x12\x01\xff")}
	for range 25 {
		r.Refuse(2, s, errors.New("no"))
	}
	want := `series {__name__="\xff"}: no`
	if got := r.Problems.Errors(); r.Problems.Rejected != 50 || len(got) != maxReasons+1 || got[0] != want || got[maxReasons] != "and 15 more" {
		t.Errorf("%d rejected, %q", r.Problems.Rejected, got)
	}
	if s := shorten(strings.Repeat("é", 20), 20); s != strings.Repeat("é", 8)+"…" {
		t.Errorf("cut to %q", s)
	}
}

// TestReasonsAreFew has problems of series with long labels, and of limits with
// long names in them: all that is kept of the reasons is bounded, in sum, and each
// ends with the flag.
func TestReasonsAreFew(t *testing.T) {
	long := strings.Repeat("\x00", 1000)
	req := prompb.WriteRequest{}
	for i := range 2 * maxReasons {
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
			Labels: pairs("__name__", long, long+long, fmt.Sprint(i)), Samples: []prompb.Sample{{Value: 1}},
		})
	}
	r := NewRequest(DefaultLimits())
	b, _ := req.Marshal()
	if err := decode(r, V1, b); err != nil {
		t.Fatal(err)
	}
	for i := range r.Series {
		_, err := r.Labels(&r.Series[i], r.Key(&r.Series[i]))
		r.Refuse(0, &r.Series[i], err)
	}
	errs, size := r.Problems.Errors(), 0
	for _, e := range errs {
		size += len(e)
		if !strings.HasSuffix(e, "(--limit.label-name-length)") && !strings.HasPrefix(e, "and ") {
			t.Errorf("%q", e)
		}
	}
	if len(errs) < 2 || size > MaxErrorBytes {
		t.Errorf("%d reasons of %d bytes", len(errs), size)
	}
}

// TestReferencesMakeMuchOfLittle has a 2.0 request whose labels are a thousand
// times larger than the request.
func TestReferencesMakeMuchOfLittle(t *testing.T) {
	req := examplesV2()[1]
	req.Symbols = append(req.Symbols, strings.Repeat("x", 10_000))
	long := uint32(len(req.Symbols) - 1)
	series := req.Timeseries[0]
	series.LabelsRefs = nil
	for i := range 6 { // as many as a series may have of such labels
		req.Symbols = append(req.Symbols, fmt.Sprintf("_name_%d", i))
		series.LabelsRefs = append(series.LabelsRefs, uint32(len(req.Symbols)-1), long)
	}
	req.Symbols[long+1] = "__name__"
	for range 5000 {
		req.Timeseries = append(req.Timeseries, series)
	}
	b, _ := req.Marshal()
	r := NewRequest(DefaultLimits())
	if err := decode(r, V2, b); err != nil {
		t.Fatal(err)
	}
	written, err := 0, error(nil)
	for i := range r.Series {
		if _, err = labelsOf(r, &r.Series[i]); err == nil || !strings.Contains(err.Error(), "written out") {
			written += len(r.wire)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "written out") || written > r.limits.DecodedBytes*11/10 {
		t.Errorf("error %v, %d bytes were written out", err, written)
	}
	if size := cap(r.scratch) + cap(r.wire); size > 4<<20 {
		t.Errorf("%d bytes are kept", size)
	}
}

// manyExemplars is a 2.0 request of exemplars that refer, so many times each, to a
// symbol of so many characters.
func manyExemplars(exemplars, refs, runes int) []byte {
	req := writev2.Request{Symbols: []string{"", "__name__", "m", strings.Repeat("x", runes)}}
	series := writev2.TimeSeries{LabelsRefs: []uint32{1, 2}}
	e := writev2.Exemplar{Value: 1}
	for range refs {
		e.LabelsRefs = append(e.LabelsRefs, 3)
	}
	for range exemplars {
		series.Exemplars = append(series.Exemplars, e)
	}
	req.Timeseries = append(req.Timeseries, series)
	b, _ := req.Marshal()
	return b
}

// TestExemplarsMakeMuchOfLittle has exemplars that are far larger written out than
// as they are sent: each too large by itself, or all of them together.
func TestExemplarsMakeMuchOfLittle(t *testing.T) {
	limits := DefaultLimits()
	limits.DecodedBytes = 1 << 20
	r := NewRequest(limits)
	if err := decode(r, V2, manyExemplars(150, 128, limits.ValueBytes)); err != nil {
		t.Fatal(err)
	}
	if got := r.Problems.OverLimit["exemplar-length"]; got != 150 || len(r.Exemplars) > 0 {
		t.Errorf("%d exemplars refused, %d left", got, len(r.Exemplars))
	}
	if size := cap(r.scratch) + cap(r.wire); size > 1<<16 {
		t.Errorf("%d bytes were written out", size)
	}
	each := limits.ExemplarRunes
	if err := decode(r, V2, manyExemplars(limits.DecodedBytes/each/2, 2, each/2)); err != nil {
		t.Errorf("half of what is allowed: %v", err)
	}
	err := decode(r, V2, manyExemplars(limits.DecodedBytes/each+1, 2, each/2))
	if over := (*limit.Error)(nil); !errors.Is(err, ErrTooLarge) || !errors.As(err, &over) || over.Name != "decoded-bytes" {
		t.Errorf("more than is allowed: %v", err)
	}
	if size := cap(r.scratch); size > 3*limits.DecodedBytes {
		t.Errorf("%d bytes were written out", size)
	}
}

// TestWhatIsSaidTwice has histograms and exemplars whose fields come many times
// over: the last one counts, and the others are not kept.
func TestWhatIsSaidTwice(t *testing.T) {
	limits := DefaultLimits()
	field := func(tag byte, content []byte) []byte {
		return append(binary.AppendUvarint([]byte{tag}, uint64(len(content))), content...)
	}
	value := []byte{0x11, 0, 0, 0, 0, 0, 0, 0, 1}
	for name, raw := range map[string][]byte{
		"value": bytes.Repeat(value, 10_000),
		"label": field(0x0a, append(bytes.Repeat(field(0x12, []byte("x")), 10_000), field(0x0a, []byte("a"))...)),
	} {
		r := NewRequest(limits)
		if data, err := r.exemplarV1(raw); err != nil || len(data) == 0 || len(data) > 20 {
			t.Errorf("%s: kept %d bytes of %d: %v", name, len(data), len(raw), err)
		}
	}
	h := append([]byte{0x08, 0}, bytes.Repeat([]byte{0x78, 5}, limits.HistogramBytes/2)...)
	r := NewRequest(limits)
	if _, _, err := r.histogram(h, 0); err == nil || !strings.Contains(err.Error(), flagHistogramBytes) {
		t.Errorf("histogram of %d bytes: %v", len(h), err)
	}
}

// TestLongSymbols has series that refer to a symbol of many MiB, which nothing may
// read or copy once a series.
func TestLongSymbols(t *testing.T) {
	const series = 50_000
	req := writev2.Request{Symbols: []string{"", "__name__", strings.Repeat("x", 16<<20), strings.Repeat("y", 1<<20)}}
	for i := range series {
		req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
			LabelsRefs: []uint32{1, 2, 2, 2}, Samples: []writev2.Sample{{Timestamp: int64(i)}},
			// By turns, so that no memory of the last one helps.
			Metadata: writev2.Metadata{HelpRef: 2 + uint32(i%2), UnitRef: uint32(i % 128 / 64)},
		})
	}
	b, _ := req.Marshal()
	r := NewRequest(DefaultLimits())
	if err := decode(r, V2, b); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range r.Series {
		s := &r.Series[i]
		_, err := r.Labels(s, r.Key(s))
		if err == nil {
			t.Fatal("a label of 16 MiB is good")
		}
		r.Refuse(1, s, err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > series*2000 {
		t.Errorf("%d bytes were allocated for %d bad series", got, series)
	}
}

func TestGatheredLabels(t *testing.T) {
	// Labels, a sample, and another label after it.
	var parts [][]byte
	for _, ts := range []prompb.TimeSeries{
		{Labels: pairs("__name__", "a")}, {Samples: []prompb.Sample{{Value: 1}}}, {Labels: pairs("b", "c")}, {Labels: pairs("d", "e")},
	} {
		b, _ := ts.Marshal()
		parts = append(parts, b)
	}
	var series []byte
	for _, p := range parts {
		series = append(series, p...)
	}
	body := append([]byte{0x0a, byte(len(series))}, series...)
	r := NewRequest(DefaultLimits())
	if err := r.scan(V1, body); err != nil {
		t.Fatal(err)
	}
	ls, err := labelsOf(r, &r.Series[0])
	if err != nil || len(ls) != 3 || ls[2].Value != "e" || r.Samples[0].Value != math.Float64bits(1) {
		t.Errorf("%v %v %v", ls, err, r.Samples)
	}
}

func benchmarkDecode(b *testing.B, schema Schema, raw []byte, senders *SenderLabels) {
	body := snappy.Encode(nil, raw)
	r := NewRequest(DefaultLimits())
	r.NameSenders(senders)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := r.Decode(schema, body); err != nil {
			b.Fatal(err)
		}
		n += len(r.Samples)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Msamples/s")
}

func BenchmarkDecodeV1(b *testing.B) { benchmarkDecode(b, V1, steadyV1(2000, 0), nil) }
func BenchmarkDecodeV2(b *testing.B) { benchmarkDecode(b, V2, steadyV2(2000, 0), nil) }

// steadySenders have these series be of one sender, by labels that all of them have.
var steadySenders = NewSenderLabels("cluster", "job")

func BenchmarkDecodePairV1(b *testing.B) { benchmarkDecode(b, V1, steadyV1(2000, 0), steadySenders) }
func BenchmarkDecodePairV2(b *testing.B) { benchmarkDecode(b, V2, steadyV2(2000, 0), steadySenders) }

// TestManySamplesTakeLittle has far more samples in a series than there may be.
func TestManySamplesTakeLittle(t *testing.T) {
	for schema, tag := range map[Schema]byte{V1: 0x0a, V2: 0x2a} {
		series := bytes.Repeat([]byte{0x12, 0}, 1<<20)
		body := append(binary.AppendUvarint([]byte{tag}, uint64(len(series))), series...)
		r := NewRequest(limitsWith(func(l *Limits) {
			l.Samples = 1000
		}))
		if err := r.scan(schema, body); !errors.Is(err, ErrTooLarge) {
			t.Errorf("schema %d: %v", schema, err)
		}
		if cap(r.Samples) > 4000 {
			t.Errorf("schema %d: room for %d samples", schema, cap(r.Samples))
		}
	}
}
