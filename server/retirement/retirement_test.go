package retirement_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/retirement"
)

var now = time.Unix(1_000_000, 0)

// log is a dead one that was written so many hours ago.
func log(n byte, hours int, archived bool) retirement.Log {
	return retirement.Log{ID: segment.LogID{n}, Dead: true, Written: now.Add(-time.Duration(hours) * time.Hour), Archived: archived}
}

func alive(l retirement.Log) retirement.Log {
	l.Dead = false
	return l
}

func TestOf(t *testing.T) {
	type (
		logs    = []retirement.Log
		bounds  = retirement.Bounds
		retired = retirement.Retired
	)
	one, two, three := segment.LogID{1}, segment.LogID{2}, segment.LogID{3}
	for name, tc := range map[string]struct {
		logs   logs
		bounds bounds
		want   []retired
	}{
		"no bounds":                   {logs{log(1, 1000, true)}, bounds{}, nil},
		"too old":                     {logs{log(1, 1, false), log(2, 3, false), log(3, 4, false)}, bounds{Time: 2 * time.Hour}, []retired{{ID: three, Why: "time"}, {ID: two, Why: "time"}}},
		"too old, and alive":          {logs{alive(log(1, 3, true))}, bounds{Time: 2 * time.Hour, Over: true, Overfull: true, Wanted: true}, nil},
		"too old, and not archived":   {logs{log(1, 3, false)}, bounds{Time: 2 * time.Hour, Bucket: true}, nil},
		"too old, and archived":       {logs{log(1, 3, true)}, bounds{Time: 2 * time.Hour, Bucket: true}, []retired{{ID: one, Why: "time"}}},
		"too large":                   {logs{log(1, 1, false), log(2, 2, false)}, bounds{Over: true}, []retired{{ID: two, Why: "size"}}},
		"too large, some too old":     {logs{log(1, 1, false), log(2, 3, false)}, bounds{Time: 2 * time.Hour, Over: true}, []retired{{ID: two, Why: "time"}}},
		"too large, and in a bucket":  {logs{log(1, 1, true), log(2, 2, false)}, bounds{Over: true, Bucket: true}, []retired{{ID: one, Why: "size"}}},
		"far too large":               {logs{log(1, 1, false), log(2, 2, false)}, bounds{Over: true, Overfull: true, Bucket: true}, []retired{{ID: two, Why: "size", Lost: true}}},
		"far too large, one archived": {logs{log(1, 1, true), log(2, 2, false)}, bounds{Over: true, Overfull: true, Bucket: true}, []retired{{ID: one, Why: "size"}}},
		"a place is wanted":           {logs{log(1, 1, true), log(2, 2, true), log(3, 3, false)}, bounds{Places: 3, Wanted: true, Bucket: true}, []retired{{ID: two, Why: "place"}}},
		"there is a place":            {logs{log(1, 1, true)}, bounds{Places: 3, Wanted: true, Bucket: true}, nil},
		"a place, and nothing kept":   {logs{log(1, 1, false)}, bounds{Places: 1, Wanted: true}, nil},
		"a place, and one too old":    {logs{log(1, 3, false)}, bounds{Places: 1, Wanted: true, Time: time.Hour}, []retired{{ID: one, Why: "time"}}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, retirement.Of(tc.logs, tc.bounds, now))
		})
	}
}

// Whatever the bounds: what lives stays, and what would be lost goes only where there is
// far too much and nothing else to go, or no bucket.
func TestNothingIsLost(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 0))
		held := map[segment.LogID]retirement.Log{}
		var logs []retirement.Log
		for i := range byte(random.IntN(6)) {
			l := log(i+1, random.IntN(10), random.IntN(2) == 0)
			l.Dead = random.IntN(3) > 0
			held[l.ID], logs = l, append(logs, l)
		}
		b := retirement.Bounds{
			Time: time.Duration(random.IntN(10)) * time.Hour, Over: random.IntN(2) == 0, Bucket: random.IntN(2) == 0,
			Places: len(logs), Wanted: random.IntN(2) == 0,
		}
		b.Overfull = b.Over && random.IntN(2) == 0
		archived := slices.ContainsFunc(logs, func(l retirement.Log) bool { return l.Dead && l.Archived })
		for _, r := range retirement.Of(logs, b, now) {
			l := held[r.ID]
			require.True(t, l.Dead)
			require.True(t, l.Archived || !b.Bucket || b.Overfull)
			require.Equal(t, b.Bucket && !l.Archived, r.Lost)
			require.False(t, r.Lost && archived, "another could go")
			if r.Why == retirement.ByTime {
				require.Greater(t, now.Sub(l.Written), b.Time)
			}
		}
	}
}
