package bound

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/bench/load"
)

// BenchmarkFloors measures the floors of all steps but the HTTP request, in nanoseconds for a
// sample: of known series and, in its first round, of new ones. BenchmarkSerial of the
// forwarder measures the project's steps beside them.
func BenchmarkFloors(b *testing.B) {
	for _, version := range []int{1, 2} {
		b.Run(fmt.Sprintf("remote write %d.0", version), func(b *testing.B) { benchmarkFloors(b, version, false) })
	}
	for _, version := range []int{1, 2} {
		b.Run(fmt.Sprintf("new series, remote write %d.0", version), func(b *testing.B) { benchmarkFloors(b, version, true) })
	}
}

func benchmarkFloors(b *testing.B, version int, fresh bool) {
	l, err := load.Make(load.Plan{
		Profile: load.Synthetic, Series: 100_000, Rounds: 2, PerRequest: 2000, Version: version, Interval: 15 * time.Second, Last: time.Now(),
	})
	require.NoError(b, err)
	costs, samples := map[string]time.Duration{}, 0
	var p *Pipeline
	open := func() {
		if p != nil {
			p.Close()
		}
		p, err = NewPipeline(version, 8, b.TempDir())
		require.NoError(b, err)
	}
	open()
	if !fresh {
		_, err = p.Run(l.Rounds(0, 1))
		require.NoError(b, err)
	}
	for b.Loop() {
		round := l.Rounds(1, 2)
		if fresh {
			b.StopTimer()
			open()
			round = l.Rounds(0, 1)
			b.StartTimer()
		}
		floors, err := p.Run(round)
		require.NoError(b, err)
		for _, f := range floors {
			costs[f.Process+": "+f.Step] += f.CPU
		}
		samples += l.Plan.Samples(1)
	}
	p.Close()
	for step, cost := range costs {
		b.ReportMetric(float64(cost.Nanoseconds())/float64(samples), strings.NewReplacer(" ", "-", ",", "").Replace(step)+"-ns/sample")
	}
}
