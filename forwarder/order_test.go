package forwarder

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/proto"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"

	"github.com/promgrpc/exporter/internal/segment"
)

// mixed is a series of a request with floats and histograms at these times.
func mixed(series string, floats, histograms []int64) ts {
	s := ts{labels: []string{"__name__", series}}
	for i, at := range floats {
		s.samples = append(s.samples, prompb.Sample{Value: float64(i), Timestamp: at}) // No two are equal.
	}
	for i, at := range histograms {
		h := good()
		h.Sum = float64(i)
		s.histograms = append(s.histograms, prompb.FromIntHistogram(at, h))
	}
	return s
}

// arrivals are the samples of each series in order of arrival.
func arrivals(t *testing.T, blocks []*segment.Block) map[string][]string {
	t.Helper()
	names, got := map[uint64]string{}, map[string][]string{}
	add := func(ref uint64, kind string, at int64) {
		got[names[ref]] = append(got[names[ref]], fmt.Sprintf("%s %d", kind, at))
	}
	for _, b := range blocks {
		for i, ref := range b.Series.Refs {
			names[ref] = b.Series.AppendLabels(nil, i)[0].Value
		}
		for part, h := range b.Parts() {
			if h != nil {
				var decoded metricsv1.Histogram
				if err := proto.Unmarshal(h.Data, &decoded); err != nil || decoded.GetTimestamp() != h.Timestamp {
					t.Fatalf("histogram at %d: %v, %v", h.Timestamp, &decoded, err)
				}
				add(h.Ref, "histogram", h.Timestamp)
			}
			for i := range part.Values {
				add(part.First+uint64(i), "float", part.Timestamp)
			}
		}
	}
	return got
}

// TestOrderOfKinds checks that floats and histograms of one series are stored in order
// of arrival: from one series of a request to the next, and within it by timestamp.
func TestOrderOfKinds(t *testing.T) {
	type times = []int64
	for _, test := range []struct {
		name   string
		series []ts
		want   []string
	}{
		{"a histogram between floats", []ts{mixed("s", times{1, 3}, times{2})}, []string{"float 1", "histogram 2", "float 3"}},
		{"a float between histograms", []ts{mixed("s", times{2}, times{1, 3})}, []string{"histogram 1", "float 2", "histogram 3"}},
		{"at the same time", []ts{mixed("s", times{1, 1}, times{1, 1})}, []string{"float 1", "float 1", "histogram 1", "histogram 1"}},
		{"a list that is not in order keeps its own", []ts{mixed("s", times{5, 1, 7}, times{6, 2})},
			[]string{"float 5", "float 1", "histogram 6", "histogram 2", "float 7"}},
		{"one after another", []ts{mixed("s", times{1}, nil), mixed("s", nil, times{2}), mixed("s", times{3}, nil)},
			[]string{"float 1", "histogram 2", "float 3"}},
		{"one after another, back in time", []ts{mixed("s", nil, times{9}), mixed("s", times{5}, nil), mixed("s", nil, times{4})},
			[]string{"histogram 9", "float 5", "histogram 4"}},
		{"others between", []ts{mixed("s", times{1}, nil), mixed("other", times{7}, times{6}), mixed("s", nil, times{2}), mixed("s", times{3}, nil)},
			[]string{"float 1", "histogram 2", "float 3"}},
	} {
		for _, schema := range []linkv1.Schema{v1, v2} {
			t.Run(fmt.Sprintf("%s/%s", test.name, schema), func(t *testing.T) {
				r := start(t, testConfig(t.TempDir()))
				r.sender().mustStore(schema, bodyOf(t, schema, test.series...))
				if diff := cmp.Diff(test.want, arrivals(t, r.blocks())["s"]); diff != "" {
					t.Errorf("want -, got +:\n%s", diff)
				}
			})
		}
	}
}

// byTime is the rule for what one series of a request has.
func byTime(floats, histograms []int64) (want []string) {
	for len(floats)+len(histograms) > 0 {
		if len(histograms) == 0 || len(floats) > 0 && floats[0] <= histograms[0] {
			want, floats = append(want, fmt.Sprint("float ", floats[0])), floats[1:]
		} else {
			want, histograms = append(want, fmt.Sprint("histogram ", histograms[0])), histograms[1:]
		}
	}
	return want
}

// TestOrderOfKindsAtRandom does the same for any requests, also after a restart.
func TestOrderOfKindsAtRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	c := testConfig(t.TempDir())
	r := start(t, c)
	want, given := map[string][]string{}, map[string][]int64{}
	times := func(name string) (some []int64) {
		for range random.IntN(4) {
			at := random.Int64N(1e9)
			for slices.Contains(given[name], at) { // A repeat would be left out.
				at++
			}
			given[name] = append(given[name], at)
			some = append(some, at)
		}
		return some
	}
	for round := range 100 {
		if round == 50 {
			r.stop()
			r = start(t, c)
		}
		var series []ts
		for range 1 + random.IntN(8) {
			name := string(rune('a' + random.IntN(4)))
			floats, histograms := times(name), times(name)
			if len(floats)+len(histograms) == 0 {
				continue
			}
			want[name] = append(want[name], byTime(floats, histograms)...)
			series = append(series, mixed(name, floats, histograms))
		}
		schema := []linkv1.Schema{v1, v2}[random.IntN(2)]
		r.sender().mustStore(schema, bodyOf(t, schema, series...))
	}
	if diff := cmp.Diff(want, arrivals(t, r.blocks())); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
