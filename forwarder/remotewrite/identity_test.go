package remotewrite

import (
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// TestIdentity has histograms that say the same counts, and others.
func TestIdentity(t *testing.T) {
	custom := &histogram.Histogram{
		Count: 3, Sum: 4, Schema: histogram.CustomBucketsSchema, CustomValues: []float64{1},
		PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{1, 1},
	}
	wire := func(h *histogram.Histogram, at int64, hint histogram.CounterResetHint, start int64) []byte {
		said := h.Copy()
		said.CounterResetHint = hint
		message := writev2.FromIntHistogram(start, at, said)
		data, err := message.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	of := func(h *histogram.Histogram, at int64, hint histogram.CounterResetHint, start int64) Identity {
		return IdentityOf(wire(h, at, hint, start))
	}
	plain := of(custom, 5, histogram.UnknownCounterReset, 0)
	if plain.Start != 0 || plain.Hint != 0 {
		t.Errorf("%+v says nothing besides", plain)
	}
	for _, hint := range []histogram.CounterResetHint{histogram.UnknownCounterReset, histogram.CounterReset, histogram.NotCounterReset, histogram.GaugeType} {
		for _, start := range []int64{0, 3, -3} {
			want := Identity{plain.Hash, start, uint8(hint)}
			if got := of(custom, 5, hint, start); got != want {
				t.Errorf("hint %d, start %d: %+v, want %+v", hint, start, got, want)
			}
		}
	}
	bounds := custom.Copy()
	bounds.CustomValues = []float64{2}
	sum := custom.Copy()
	sum.Sum++
	for name, other := range map[string]Identity{
		"time": of(custom, 6, 0, 0), "bounds": of(bounds, 5, 0, 0), "sum": of(sum, 5, 0, 0),
	} {
		if other.Hash == plain.Hash {
			t.Errorf("another %s is the same histogram", name)
		}
	}
	unnamed := append(wire(custom, 5, 0, 0), fieldResetHint<<3, 0x80|maxHint+1, 1)
	if got := IdentityOf(unnamed); got.Hash != plain.Hash || got.Hint != maxHint+1 {
		t.Errorf("a hint without a name: %+v", got)
	}
}
