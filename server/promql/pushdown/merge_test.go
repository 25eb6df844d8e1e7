package pushdown

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
)

func leafIn(t *testing.T, text string) *Leaf {
	t.Helper()
	expr, err := testParser.ParseExpr(text)
	require.NoError(t, err)
	return Split(expr).Leaves[0]
}

func of(values ...any) (v promql.Vector) {
	for i := 0; i < len(values); i += 2 {
		v = append(v, promql.Sample{Metric: labels.FromStrings("a", values[i].(string)), F: values[i+1].(float64)})
	}
	return v
}

// Results that do not say what the expression comes to are refused.
func TestMerge(t *testing.T) {
	inf, nan, other, zero := math.Inf(1), math.NaN(), math.Float64frombits(0x7ff8000000000007), math.Copysign(0, -1)
	native := promql.Vector{{Metric: labels.FromStrings("a", "1"), H: &histogram.FloatHistogram{}}}
	gauge := promql.Vector{{Metric: labels.FromStrings("a", "1"), H: &histogram.FloatHistogram{CounterResetHint: histogram.GaugeType}}}
	for _, c := range []struct {
		text string
		a, b []promql.Vector
		want promql.Vector // nil: none
	}{
		{"x", []promql.Vector{of("2", 1.0)}, []promql.Vector{of("1", 2.0)}, of("1", 2.0, "2", 1.0)},
		{"x", []promql.Vector{of("2", 1.0)}, []promql.Vector{of("2", 2.0)}, nil},
		{"x", []promql.Vector{native}, []promql.Vector{nil}, native},
		{"abs(x) or y", []promql.Vector{native}, []promql.Vector{nil}, nil},
		{"abs(x) or y", []promql.Vector{gauge}, []promql.Vector{nil}, gauge},
		{"sum by (a) (x)", []promql.Vector{of("1", 1.0, "2", 5.0)}, []promql.Vector{of("1", 2.0)}, of("1", 3.0, "2", 5.0)},
		{"sum by (a) (x)", []promql.Vector{of("1", inf)}, []promql.Vector{of("1", 2.0)}, nil},
		{"sum by (a) (x)", []promql.Vector{of("1", math.MaxFloat64)}, []promql.Vector{of("1", math.MaxFloat64)}, nil},
		{"sum by (a) (x)", []promql.Vector{native}, []promql.Vector{nil}, nil},
		{"count by (a) (x)", []promql.Vector{of("1", 4.0)}, []promql.Vector{of("1", 2.0)}, of("1", 6.0)},
		{"group by (a) (x)", []promql.Vector{of("1", 1.0)}, []promql.Vector{of("1", 1.0)}, of("1", 1.0)},
		{"avg by (a) (x)", []promql.Vector{of("1", 4.0), of("1", 2.0)}, []promql.Vector{of("1", 5.0), of("1", 1.0)}, of("1", 3.0)},
		{"avg by (a) (x)", []promql.Vector{nil, of("1", 2.0)}, []promql.Vector{of("1", 5.0), of("1", 1.0)}, nil},
		{"avg by (a) (x)", []promql.Vector{of("1", math.MaxFloat64), of("1", 1.0)}, []promql.Vector{of("1", math.MaxFloat64), of("1", 1.0)}, nil},
		{"max by (a) (x)", []promql.Vector{of("1", nan, "2", 1.0)}, []promql.Vector{of("1", 2.0, "2", nan)}, of("1", 2.0, "2", 1.0)},
		{"min by (a) (x)", []promql.Vector{of("1", -inf)}, []promql.Vector{of("1", 2.0)}, of("1", -inf)},
		{"max by (a) (x)", []promql.Vector{of("1", nan)}, []promql.Vector{of("1", other)}, nil},
		{"max by (a) (x)", []promql.Vector{of("1", 0.0)}, []promql.Vector{of("1", zero)}, nil},
		{"topk(1, max by (a) (x))", []promql.Vector{of("1", 1.0)}, []promql.Vector{of("2", 1.0)}, nil},
		{"topk(1, max by (a) (x))", []promql.Vector{of("1", 1.0)}, []promql.Vector{of("2", 2.0)}, of("1", 1.0, "2", 2.0)},
		{"max(max by (a) (x))", []promql.Vector{of("1", 1.0)}, []promql.Vector{of("2", 1.0)}, of("1", 1.0, "2", 1.0)},
		{"max(max by (a) (x))", []promql.Vector{of("1", 0.0)}, []promql.Vector{of("2", zero)}, nil},
	} {
		got, err := leafIn(t, c.text).Merge([][]promql.Vector{c.a, c.b})
		if c.want == nil {
			require.ErrorIs(t, err, ErrWhole, "%s of %v and %v", c.text, c.a, c.b)
			continue
		}
		require.NoError(t, err, "%s of %v and %v", c.text, c.a, c.b)
		require.Equal(t, c.want, got, "%s of %v and %v", c.text, c.a, c.b)
	}
}

// Groups are added in their order, whose sum is the same however they are asked.
func TestMergeOrder(t *testing.T) {
	l := leafIn(t, "sum by (a) (x)")
	a, b, c := []promql.Vector{of("1", 1e16)}, []promql.Vector{of("1", 1.0)}, []promql.Vector{of("1", -1e16)}
	got, err := l.Merge([][]promql.Vector{a, b, c})
	require.NoError(t, err)
	require.Equal(t, of("1", 1.0), got)
}

// A label that is before the name decides the order together with it, and it was dropped.
func TestMergeNamed(t *testing.T) {
	l := leafIn(t, "rate(x[1m])")
	plain := promql.Vector{{Metric: labels.FromStrings("Y", "1")}}
	zoned := promql.Vector{{Metric: labels.FromStrings("Y", "1", "Z", "1")}}
	got, err := l.Merge([][]promql.Vector{{plain}, {zoned}})
	require.NoError(t, err)
	require.Equal(t, promql.Vector{zoned[0], plain[0]}, got)
}
