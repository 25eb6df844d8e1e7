package storeapi

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// names of labels in the tests: some sort before the server's, some after them, and some are
// called the same.
var names = []string{"A", "__name__", "job", "pair", "region", "replica", "s", "zone"}

// randomLabels returns some, of which others are a prefix at times.
func randomLabels(r *rand.Rand) labels.Labels {
	b := labels.NewScratchBuilder(0)
	for _, name := range names {
		if name == "__name__" || r.IntN(3) == 0 {
			b.Add(name, []string{"a", "b", "b\xc3\xa4", "c"}[r.IntN(4)])
		}
	}
	return b.Labels()
}

// writeRandom writes several logs with series that have floats, stale markers and histograms,
// some late, some at the time of another.
func writeRandom(t *testing.T, r *rand.Rand, dir string) {
	universe := make([]labels.Labels, 1+r.IntN(30))
	for i := range universe {
		universe[i] = randomLabels(r)
	}
	for range 1 + r.IntN(3) {
		w := newLogWriter(t, dir)
		for second := range int64(1 + r.IntN(60)) {
			for i, ls := range universe {
				at := 1000 * second
				switch r.IntN(12) {
				case 0, 1, 2:
					continue
				case 3:
					at -= r.Int64N(20_000)
				}
				switch kind := r.IntN(20); {
				case kind == 0:
					w.float(ls, at, math.Float64frombits(value.StaleNaN))
				case i%4 == 1 && kind > 2:
					w.histogram(ls, at, tsdbutil.GenerateTestHistogram(second))
				case i%4 == 2 && kind > 2:
					w.floatHistogram(ls, at, tsdbutil.GenerateTestFloatHistogram(second))
				default:
					w.float(ls, at, float64(r.IntN(4)))
				}
			}
			w.append(1000 * second)
		}
		w.close()
	}
}

// naive is what an answer has to have, by what an evaluation reads.
func naive(t *testing.T, s *Store, req *thanos.SeriesRequest) []one {
	var set []*labels.Matcher
	for _, m := range req.GetMatchers() {
		set = append(set, labels.MustNewMatcher(labels.MatchType(m.GetType()), m.GetName(), m.GetValue()))
	}
	viewer := selection.Viewer{Peer: "peer"}
	hold := s.Engine.Hold(viewer)
	defer hold.Release()
	found, err := s.Samples.Select(t.Context(), viewer, hold, samples.Query{From: req.GetMinTime(), To: req.GetMaxTime()})
	require.NoError(t, err)
	all := []one{}
	for _, f := range found {
		b := labels.NewBuilder(f.Labels)
		for _, l := range s.External.list {
			b.Set(l.Name, l.Value)
		}
		seen := b.Labels()
		if slices.ContainsFunc(set, func(m *labels.Matcher) bool { return !m.Matches(seen.Get(m.Name)) }) {
			continue
		}
		b.Del(req.GetWithoutReplicaLabels()...)
		one := one{labels: b.Labels()}
		if !inShard(one.labels, req.GetShardInfo()) {
			continue
		}
		var it samples.Iterator
		it.Reset(f.Parts, chunk.All)
		some := false
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if some = true; !req.GetSkipChunks() {
				one.samples += textAt(&it, kind)
			}
		}
		require.NoError(t, it.Err())
		if some {
			all = append(all, one)
		}
	}
	slices.SortStableFunc(all, compareOnes)
	if n := int(req.GetLimit()); n > 0 && n < len(all) {
		all = all[:n]
	}
	return all
}

// inShard hashes as Thanos does.
func inShard(ls labels.Labels, info *thanos.ShardInfo) bool {
	if info == nil {
		return true
	}
	var text strings.Builder
	ls.Range(func(l labels.Label) {
		if slices.Contains(info.GetLabels(), l.Name) == info.GetBy() {
			text.WriteString(l.Name + "\xff" + l.Value + "\xff")
		}
	})
	return xxhash.Sum64String(text.String())%uint64(info.GetTotalShards()) == uint64(info.GetShardIndex())
}

// compareOnes orders series that are sent, those with the same labels by their samples.
func compareOnes(a, b one) int {
	if c := labels.Compare(a.labels, b.labels); c != 0 {
		return c
	}
	return cmp.Compare(a.samples, b.samples)
}

func randomRequest(r *rand.Rand) *thanos.SeriesRequest {
	req := &thanos.SeriesRequest{MinTime: r.Int64N(80_000) - 20_000, SkipChunks: r.IntN(5) == 0}
	req.MaxTime = req.MinTime + r.Int64N(80_000)
	if r.IntN(4) == 0 {
		req.MinTime, req.MaxTime = math.MinInt64, math.MaxInt64
	}
	for range r.IntN(3) {
		req.Matchers = append(req.Matchers, &thanos.LabelMatcher{
			Type: thanos.LabelMatcher_Type(r.IntN(4)), Name: names[r.IntN(len(names))],
			Value: []string{"", "a", "a|b", "server", "eu", ".+", ".*"}[r.IntN(7)],
		})
	}
	for _, name := range []string{"replica", "region", "pair", "none"} {
		if r.IntN(4) == 0 {
			req.WithoutReplicaLabels = append(req.WithoutReplicaLabels, name)
		}
	}
	if r.IntN(4) == 0 {
		req.ShardInfo = &thanos.ShardInfo{TotalShards: 2, ShardIndex: r.Int64N(2), By: r.IntN(2) == 0, Labels: []string{"job", "replica", "zone"}}
	}
	return req
}

// Whatever the logs have, and whatever is asked for, the answer is what an evaluation reads,
// with the labels and in the order that the querier expects.
func TestSeriesIsWhatAnEvaluationReads(t *testing.T) {
	some, several := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 17))
		dir := t.TempDir()
		writeRandom(t, r, dir)
		external := [][]string{nil, {"region=eu"}, {"replica=", "region=eu"}, {"replica="}}[r.IntN(4)]
		s := openStore(t, dir, []time.Duration{0, 20 * time.Second, time.Hour}[r.IntN(3)], external...)
		for range 30 {
			req := randomRequest(r)
			got, err := ask(t, s, selection.Viewer{Peer: "peer"}, req)
			require.NoError(t, err)
			require.True(t, slices.IsSortedFunc(got, func(a, b one) int { return labels.Compare(a.labels, b.labels) }), "seed %d: %v", seed, req)
			slices.SortStableFunc(got, compareOnes)
			want := naive(t, s, req)
			all, err := selection.DefaultLimits().Compile([]string{`{__name__!=""}`})
			require.NoError(t, err)
			exact, err := ask(t, s, selection.Viewer{Peer: "peer", Allowed: all}, req)
			require.NoError(t, err)
			slices.SortStableFunc(exact, compareOnes)
			require.Equal(t, want, exact, "seed %d: %v", seed, req) // without those that have none
			if req.GetSkipChunks() {
				require.Subset(t, got, want, "seed %d: %v", seed, req) // Others have samples before and after.
				continue
			}
			with := slices.DeleteFunc(slices.Clone(got), func(s one) bool { return s.samples == "" })
			require.Equal(t, want, with, "seed %d: %v", seed, req)
			if len(with) == 0 {
				continue
			}
			some++
			for i := range got[1:] {
				if labels.Equal(got[i].labels, got[i+1].labels) {
					several++
				}
			}
			req.Limit = 1 + r.Int64N(int64(len(got)))
			few, err := ask(t, s, selection.Viewer{Peer: "peer"}, req)
			require.NoError(t, err)
			require.Len(t, few, int(req.Limit), "seed %d: %v", seed, req)
			require.Subset(t, got, few, "seed %d: %v", seed, req)
		}
	}
	require.Positive(t, some)
	require.Positive(t, several, "no series became equal without replica labels")
}
