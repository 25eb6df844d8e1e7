package main

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/forwarder"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server"
)

// BenchmarkSeriesMemory says how many bytes a live series takes in the forwarder and in a
// server without a window, and with -v where they were allocated. Each generation of
// series takes the place of the one before, and the last alone is live.
func BenchmarkSeriesMemory(b *testing.B) {
	for _, c := range []struct{ series, generations int }{{100_000, 1}, {100_000, 10}, {1_000_000, 1}} {
		b.Run(fmt.Sprintf("series=%d/generations=%d", c.series, c.generations), func(b *testing.B) {
			for b.Loop() {
				measureMemory(b, c.series, c.generations)
			}
		})
	}
}

func measureMemory(b *testing.B, series, generations int) {
	b.Helper()
	plan := load.Plan{
		Profile: load.Synthetic, Series: series, Rounds: generations, PerRequest: 2000, Version: 1, Interval: 15 * time.Second,
		Last: time.Now().Add(-time.Hour), Churn: 1,
	}
	l, err := load.Make(plan)
	require.NoError(b, err)
	before := allocated()
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 1
	p := startPipelineOf(b, l, func(fc *forwarder.Config, sc *server.Config) {
		sc.Window = 0
		fc.SegmentDuration = time.Second
		if generations > 1 {
			fc.SeriesIdle = 5 * time.Second
		}
	})
	for round := range generations {
		p.send(b, round, round+1)
	}
	if generations == 1 {
		p.await(b, &metricsv1.GetMetricsRequest{}, series)
	}
	for generations > 1 { // The last generation is written until the others are gone.
		plan.Last = plan.Last.Add(plan.Interval)
		p.load, err = load.Make(plan)
		require.NoError(b, err)
		p.send(b, generations-1, generations)
		r, err := read.Metrics(b.Context(), read.Server{Address: p.rpc}, &metricsv1.GetMetricsRequest{})
		require.NoError(b, err)
		if r.Samples == series {
			break
		}
	}
	after := allocated()
	for part, functions := range after {
		var all int64
		for _, function := range slices.SortedFunc(maps.Keys(functions), func(x, y string) int { return cmp.Compare(functions[y], functions[x]) }) {
			bytes := functions[function] - before[part][function]
			all += bytes
			if bytes >= int64(series) {
				b.Logf("%-9s %5.1f B  %s", part, float64(bytes)/float64(series), function)
			}
		}
		b.ReportMetric(float64(all)/float64(series), part+"-B/series")
	}
}

// ofSeries are the packages that keep something for each series, by the part that they are in.
var ofSeries = map[string][]string{
	"forwarder": {"forwarder", "internal/head"},
	"server":    {"server/postings", "server/replica", "internal/head"},
}

// allocated returns the bytes that are in use, by part and by the function that allocated them.
func allocated() map[string]map[string]int64 {
	runtime.GC()
	runtime.GC() // The profile is as of the last but one.
	records := make([]runtime.MemProfileRecord, 1<<16)
	n, ok := runtime.MemProfile(records, false)
	for !ok {
		records = make([]runtime.MemProfileRecord, 2*n)
		n, ok = runtime.MemProfile(records, false)
	}
	found := map[string]map[string]int64{"forwarder": {}, "server": {}}
	for i := range records[:n] {
		if part, function := ownerOf(&records[i]); part != "" {
			found[part][function] += records[i].InUseBytes()
		}
	}
	return found
}

// ownerOf returns which part allocated something for series, and its function; "" if none did.
func ownerOf(r *runtime.MemProfileRecord) (part, function string) {
	const module = "github.com/promgrpc/exporter/"
	frames := runtime.CallersFrames(r.Stack())
	for more := true; more && part == ""; {
		var frame runtime.Frame
		frame, more = frames.Next()
		name, ours := strings.CutPrefix(frame.Function, module)
		if !ours {
			continue
		}
		if function == "" {
			function = name
		}
		for p := range ofSeries {
			if strings.HasPrefix(name, p+".") || strings.HasPrefix(name, p+"/") {
				part = p
			}
		}
	}
	if part == "" || !slices.ContainsFunc(ofSeries[part], func(p string) bool { return strings.HasPrefix(function, p+".") }) {
		return "", ""
	}
	return part, function
}
