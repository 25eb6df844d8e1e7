package promql

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/replica"
)

// followedTexts are expressions that a follower evaluates by itself, and others.
var followedTexts = []string{
	"sum(rate(c[20s]))", "sum by (job) (rate(c[20s]))", "avg without (pod, instance) (increase(c[33s] offset 4s))", "count by (pod) (c)",
	"min by (instance) (g)", "max without (job) (g offset 3s)", "avg(g)", "(sum by (job) ((c)))", "sum by (__name__) (rate(c[20s]))", "sum by (__name__, job) (g)",
	"count(rate(g[30s]))", "sum by (job) (c{instance!=\"1\"})", "sum by (nothing) (g)", "avg by (pod) (rate(c{pod=~\"2.\"}[20s]))", "max(c)", "min(increase(c[20s]))",
	"sum by (job) (rate(h[30s]))", "sum(h)", "avg(hc)", "sum({__name__=~\"c|g\"})", "sum(c @ end())", "sum(rate(c[20s] offset -5s))",
	"c", "rate(c[20s]) > 0.1", "sum by (job) (c) / on (job) sum by (job) (rate(c[30s]))", "topk(2, g)", "histogram_quantile(0.9, sum(rate(h[40s])))", "quantile(0.5, g)", "count(c) + count(c offset 10s)",
}

// growing is a log whose blocks are applied as time goes on.
type growing struct {
	*feeder
	log  *replica.Replica
	rest []arrival
}

// until applies the blocks before a time, and one more.
func (g *growing) until(ms int64) {
	g.t.Helper()
	for g.time < ms && len(g.rest) > 0 {
		n := 1
		for n < len(g.rest) && g.rest[n].block == g.rest[0].block {
			n++
		}
		var samples []sampleOf
		for _, a := range g.rest[:n] {
			samples = append(samples, a.sampleOf)
		}
		b := g.block(g.rest[0].block, samples)
		b.Sequence = g.log.Head.Sequence() + 1
		require.NoError(g.t, g.log.ApplyBlock(b))
		g.rest = g.rest[n:]
	}
}

// A follower comes to the same, bit by bit, as evaluations that know nothing of each other,
// while series come and go and samples come late.
func TestFollower(t *testing.T) {
	var incremental int
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 3))
		dir := t.TempDir()
		logs := map[int]*growing{}
		for i := range 1 + int(seed%2) {
			w := newLogWriter(t, dir, begun)
			f := &feeder{logWriter: w, refs: map[string]uint64{}}
			f.feed(begun, nil)
			w.close()
			logs[i] = &growing{feeder: f, rest: randomLog(r, 150)}
		}
		ours := openEngine(t, dir, DefaultConfig(), time.Hour)
		for _, g := range logs {
			g.log = logsOf(ours).Get(g.writer.Log().ID())
		}
		delay, step := time.Duration(r.IntN(8))*500*time.Millisecond, int64(1000*(1+r.IntN(3)))
		o := Options{Viewer: viewer, Delay: &delay, Lookback: 30 * time.Second, Late: step}
		followers := make([]*Follower, len(followedTexts))
		for i, text := range followedTexts {
			x, err := ours.Parse(t.Context(), viewer, text)
			require.NoError(t, err)
			followers[i] = ours.Follow(x, o)
		}
		for at := int64(begun) + 10_000; at < begun+120_000; at += step {
			for _, g := range logs {
				g.until(at + delay.Milliseconds())
			}
			for i, f := range followers {
				text := followedTexts[i]
				want, err := ours.Evaluate(t.Context(), f.x, at, at, 0, o)
				require.NoError(t, err, text)
				got, err := f.Evaluate(t.Context(), viewer, at)
				require.NoError(t, err, text)
				require.Equal(t, written(want.Value, "sort "+text), written(got.Value, "sort "+text), "seed %d, %s at %d", seed, text, at)
				require.Equal(t, want.Late, got.Late, "seed %d, %s at %d", seed, text, at)
				require.Equal(t, want.Annotations.AsErrors(), got.Annotations.AsErrors(), text)
				if got.Statistics == nil {
					incremental++
				}
			}
		}
		for _, f := range followers {
			f.mu.Lock()
			f.Close() // while an evaluation is under way
			f.mu.Unlock()
			f.giveUp()
			_, err := f.Evaluate(t.Context(), viewer, begun)
			require.NoError(t, err)
		}
		require.Zero(t, ours.shared.Bytes.Used())
	}
	require.NotZero(t, incremental)
}
