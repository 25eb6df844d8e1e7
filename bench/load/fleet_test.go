package load

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
)

func fleetPlan(version int) Plan {
	p := plan(version)
	p.Profile, p.Series = Fleet, 12_000
	return p
}

// scraped are the series of each request of a round, as texts.
func scraped(t *testing.T, p Plan, rounds int) (requests [][][]string) {
	t.Helper()
	for first := 0; first < p.Series; first += p.PerRequest {
		part, err := fleet(p, first, min(first+p.PerRequest, p.Series))
		require.NoError(t, err)
		var request [][]string
		for round := range rounds {
			var series []string
			for s := range part(round) {
				series = append(series, text(s.Labels))
			}
			request = append(request, series)
		}
		requests = append(requests, request)
	}
	return requests
}

func TestTheFleetHasWhatPeopleHave(t *testing.T) {
	p := fleetPlan(1)
	const rounds = 20
	part, err := fleet(p, 0, p.Series)
	require.NoError(t, err)
	before, changed := map[string]float64{}, map[string]bool{}
	var least, most, all, longest, reset, notNumbers int
	least = math.MaxInt
	for round := range rounds {
		for s := range part(round) {
			key := text(s.Labels)
			v, known := before[key]
			switch {
			case math.IsNaN(s.Value):
				notNumbers++
			case known && s.Value < v && strings.HasSuffix(s.Labels[0].Value, "_total"):
				reset++
			}
			if known && math.Float64bits(v) != math.Float64bits(s.Value) {
				changed[key] = true
			}
			before[key] = s.Value
			if round > 0 {
				continue
			}
			require.True(t, slices.IsSortedFunc(s.Labels, func(a, b prompb.Label) int { return strings.Compare(a.Name, b.Name) }), key)
			least, most, all = min(least, len(s.Labels)), max(most, len(s.Labels)), all+len(s.Labels)
			for _, l := range s.Labels {
				longest = max(longest, len(l.Value))
			}
		}
	}
	require.Len(t, before, p.Series)
	l, err := Make(p)
	require.NoError(t, err)
	t.Logf("targets of %v series; %d to %d labels, %.1f on average, of up to %d bytes; %.0f bytes a sample; %.0f %% constant; %d resets and %.1f %% NaN in %d rounds",
		sizes(), least, most, float64(all)/float64(p.Series), longest, float64(l.RawBytes)/float64(p.Samples(p.Rounds)),
		100-100*float64(len(changed))/float64(p.Series), reset, 100*float64(notNumbers)/float64(p.Samples(rounds)), rounds)
	require.Equal(t, 4, least)
	require.Equal(t, 25, most)
	require.Greater(t, longest, 128)
	require.Positive(t, reset)
	require.Positive(t, notNumbers)
}

// Over every boundary of requests: each series once a round, and the same ones for any
// size of request.
func TestFleetSeriesAreUnique(t *testing.T) {
	p := fleetPlan(1)
	var whole []string
	for _, size := range []int{12_000, 500, 777} {
		p.PerRequest = size
		var series []string
		for _, request := range scraped(t, p, 1) {
			series = append(series, request[0]...)
		}
		slices.Sort(series)
		if whole == nil {
			whole = series
		}
		require.Equal(t, whole, series, size)
	}
	require.Len(t, slices.Compact(whole), p.Series)
}

func TestFleetOrderDiffersBetweenRounds(t *testing.T) {
	p := fleetPlan(1)
	const rounds = 3
	moved := 0
	for _, request := range scraped(t, p, rounds) {
		for round := 1; round < rounds; round++ {
			require.Equal(t, slices.Sorted(slices.Values(request[0])), slices.Sorted(slices.Values(request[round])))
			follows := map[string]string{}
			for i, series := range request[round-1][1:] {
				follows[request[round-1][i]] = series
			}
			for i, series := range request[round][1:] {
				if follows[request[round][i]] != series {
					moved++
				}
			}
		}
	}
	share := float64(moved) / float64(p.Series*(rounds-1))
	t.Logf("%.1f %% of the series do not follow the one that they followed", 100*share)
	require.Positive(t, moved)
	require.Less(t, share, 0.5)
}

func TestAFleetIsTheSameEachTime(t *testing.T) {
	p := fleetPlan(2)
	p.Churn = Fleet.Churn
	first, err := Make(p)
	require.NoError(t, err)
	second, err := Make(p)
	require.NoError(t, err)
	require.Equal(t, first, second)
}

// What takes the place of a pod has a name of its own; brokers and switches keep theirs.
func TestFleetTargetsAreReplaced(t *testing.T) {
	for number, lasting := range []bool{false, false, false, true, true, false} {
		old, replaced := expose(number, 0), expose(number, 1)
		require.Equal(t, sizes()[number], replaced.size)
		seen := map[string]bool{}
		for _, s := range old.all() {
			seen[text(s.Labels)] = true
		}
		kept := 0
		for _, s := range replaced.all() {
			if seen[text(s.Labels)] {
				kept++
			}
		}
		require.Equal(t, lasting, kept > sizes()[number]/2, number)
	}
}

func TestRestartedTargetsCountFromZero(t *testing.T) {
	x := expose(0, 0)
	sum := func() (sum float64) {
		for s := range x.counting() {
			sum += s.Value
		}
		return sum
	}
	require.Positive(t, sum())
	x.restart()
	require.Zero(t, sum())
}
