package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const output = `goos: linux
BenchmarkDecode-2   	      50	    147603 ns/op	        13.55 Msamples/s	       0 B/op	       0 allocs/op
BenchmarkMatch/metric_7-2  	      20	     15545 ns/op	    7792 B/op	      100 allocs/op
PASS
`

func TestCompare(t *testing.T) {
	file := filepath.Join(t.TempDir(), "allocs.txt")
	check := func(text string) error { return run(file, strings.NewReader(text), false) }
	require.NoError(t, run(file, strings.NewReader(output), true))
	require.NoError(t, check(output))
	require.NoError(t, check(strings.Replace(output, "100 allocs", "123 allocs", 1)))
	require.ErrorContains(t, check(strings.Replace(output, "100 allocs", "124 allocs", 1)), "124 allocations, were 100")
	require.ErrorContains(t, check(strings.Replace(output, "BenchmarkMatch", "BenchmarkOther", 1)), "was not run")
	require.ErrorContains(t, check(output+"BenchmarkMore-2 1 1 ns/op 1 B/op 1 allocs/op\n"), "is new")
	require.ErrorContains(t, check(output+"FAIL\tsome/package [build failed]\n"), "failed")
	require.ErrorContains(t, check(""), "no benchmark")
}
