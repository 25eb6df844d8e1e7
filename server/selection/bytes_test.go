package selection

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func heapInUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// Selectors take no more than what is counted for them.
func TestSelectionBytes(t *testing.T) {
	for _, text := range []string{
		`{a=~"` + strings.Repeat("abcdefg|", 2000) + `x"}`,
		`{a=~"` + strings.Repeat("[a-z]{20}", 400) + `x"}`,
		`{a=~"(?i)` + strings.Repeat("abcdefg.*", 1000) + `x"}`,
		`{a=~"x.{1000}.{1000}.{1000}.{1000}"}`,
		`{a=~"` + strings.Repeat(`\\pL`, 30) + `"}`,
		`{` + strings.TrimSuffix(strings.Repeat(`a=~"b.c",`, 1500), ",") + `}`,
		`{` + strings.TrimSuffix(strings.Repeat(`a!="b",`, 1500), ",") + `}`,
	} {
		before := heapInUse()
		s, err := parseSelection(text)
		require.NoError(t, err)
		require.Less(t, heapInUse()-before, float64(s.Bytes()), "%.40s", text)
		runtime.KeepAlive(s)
	}
}
