package report

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQueries(t *testing.T) {
	var r Result
	require.NotContains(t, string(r.Markdown()), "Queries")
	r.Add(LiveSeries, ProjectOne, To(StepSum, 1)+CPU, "s", 0.010)
	r.Add(LiveSeries, ProjectOne, To(StepSum, 100)+CPU, "s", 0.010+99*0.0001)
	r.Add(LiveSeries, ProjectOne, To(StepSum, 1)+Most, "s", 0.060)
	r.Add(LiveSeries, ProjectOne, To(StepSum, 1)+Bytes, "B", 200)
	r.Add(LiveSeries, ProjectOne, RawReferences+Bytes, "B", 2000)
	r.Add(LiveSeries, ProjectOne, RawLabels+Bytes, "B", 20000)
	r.Add(LiveSeries, Prometheus, To(StepSum, 100)+CPU, "s", 1.99)
	r.Add(small, ProjectOne, InstantTop+CPU, "s", 0.003)
	r.Add(small, Prometheus, InstantTop+CPU, "s", 0.006)
	r.Add(small, ProjectOne, WindowSample, "ns", 30)
	r.Add(small, Windowless, WindowSample, "ns", 25)
	text := string(r.Markdown())
	for _, row := range []string{
		"the hundredth subscriber of the " + StepSum + ": of what the first costs ≤ 2 % | 1 | met |",
		StepSum + ", to 1, from due to client, p99 ≤ 50 ms | 60 | missed |",
		InstantTop + ", CPU, of Prometheus' ≤ 1 times | 0.500 | met |",
		"| " + StepSum + ", to 100, CPU | 19.9 | 1 990 | 100 | – | – |",
		"| " + StepSum + " | 10 | 100 | 1 % | 200 | 10 % | 1 % |",
		"| " + WindowSample + ", ns | 25 | 30 |",
	} {
		require.Contains(t, text, row)
	}
}
