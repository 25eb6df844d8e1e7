package pushdown

import (
	"maps"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// What each of Prometheus' functions is to series was decided, for all that there are.
func TestFunctions(t *testing.T) {
	require.Equal(t, slices.Sorted(maps.Keys(parser.Functions)), slices.Sorted(maps.Keys(functions)))
	for name, role := range functions {
		f := parser.Functions[name]
		ofSeries := slices.ContainsFunc(f.ArgTypes, func(k parser.ValueType) bool { return k == parser.ValueTypeVector || k == parser.ValueTypeMatrix })
		switch role {
		case single:
			require.True(t, ofSeries, name)
			require.Equal(t, parser.ValueTypeVector, f.ReturnType, name)
		case scalars:
			require.False(t, ofSeries, name)
			require.Equal(t, parser.ValueTypeScalar, f.ReturnType, name)
		}
	}
}
