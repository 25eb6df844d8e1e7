package promql

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/promql/pushdown"
	"github.com/promgrpc/exporter/server/selection"
)

// localGroups are engines, each over the series of a group.
type localGroups struct {
	t       testing.TB
	engines []*Engine
	moved   []int64
	// asked is how many expressions were asked for, and whole how many could not be
	// evaluated by all groups.
	asked, closed, whole int
	came                 map[bool]int // steps, by whether they were evaluated whole
	mixed                bool         // a series may be in two groups
}

func (g *localGroups) Apart() (moved []int64, ok bool) { return g.moved, !g.mixed }

func (g *localGroups) Came(whole bool) { g.came[whole]++ }

func (g *localGroups) Ask(a Asked) Asking {
	g.asked++
	return &localAsking{g, a}
}

type localAsking struct {
	groups *localGroups
	Asked
}

func (a *localAsking) Close() { a.groups.closed++ }

// At has each engine evaluate the expression, and answers what a server would send.
func (a *localAsking) At(ctx context.Context, at int64) (all []Answer, err error) {
	for _, e := range a.groups.engines {
		x, err := e.Parse(ctx, viewer, a.Text)
		require.NoError(a.groups.t, err, a.Text)
		require.Equal(a.groups.t, a.Text, x.Text())
		result, err := e.Evaluate(ctx, x, at, at, 0, Options{Viewer: viewer, Delay: &a.Delay, Lookback: a.Lookback, Late: a.Step.Milliseconds()})
		if err != nil {
			a.groups.whole++
			return nil, pushdown.ErrWhole
		}
		answer := Answer{Late: result.Late}
		for _, s := range result.Value.(Vector) {
			if s.H != nil {
				s.H = s.H.Copy()
				if HistogramMessage(at, s.H).GetResetHint() == 0 {
					s.H.CounterResetHint = 0
				}
			}
			answer.Samples = append(answer.Samples, s)
		}
		slices.SortFunc(answer.Samples, func(a, b Sample) int { return labels.Compare(a.Metric, b.Metric) })
		for _, m := range AnnotationMessages(result.Annotations, x.Text()) {
			answer.Annotations = append(answer.Annotations, m.GetText())
		}
		all = append(all, answer)
	}
	return all, nil
}

// withGroups returns an engine with all series, and one that has groups evaluate what they
// can, each with a share of the series.
func withGroups(t testing.TB, all []arrival, groups int, share func(key string) int) (whole, router *Engine, local *localGroups) {
	t.Helper()
	dir := t.TempDir()
	writeLogs(t, dir, [][]arrival{all})
	whole = openEngine(t, dir, DefaultConfig(), time.Hour)
	local = &localGroups{t: t, came: map[bool]int{}}
	for g := range groups {
		of := slices.DeleteFunc(slices.Clone(all), func(a arrival) bool { return share(a.labels) != g })
		dir := t.TempDir()
		writeLogs(t, dir, [][]arrival{of})
		local.engines = append(local.engines, openEngine(t, dir, DefaultConfig(), time.Hour))
	}
	from := whole.shared
	from.Groups = local
	return whole, New(DefaultConfig(), from), local
}

// sharedOut puts each series into one of some groups.
func sharedOut(r *rand.Rand, groups int) func(key string) int {
	of := map[string]int{}
	return func(key string) int {
		g, ok := of[key]
		if !ok {
			g = r.IntN(groups)
			of[key] = g
		}
		return g
	}
}

var odd = []float64{
	math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(0x7ff8000000000007), math.Copysign(0, -1), 0, math.MaxFloat64, -math.MaxFloat64, 1e-300, 1,
}

// oddLog is a random log with more kinds of series: i has small integers, of which many are
// equal, p also infinities, o values with which floats are odd, m floats and histograms, b_bucket the buckets
// of classic histograms.
func oddLog(r *rand.Rand, blocks int) []arrival {
	all := randomLog(r, blocks)
	for i := range all {
		a := &all[i]
		builder := labels.NewBuilder(labelsOf(a.labels))
		name := []string{"", "", "i", "i", "i", "o", "m", "b_bucket", "p"}[r.IntN(9)]
		if name == "" || a.value != a.value {
			continue
		}
		builder.Set(model.MetricNameLabel, name)
		if r.IntN(3) == 0 {
			builder.Set("Area", "1") // labels before the name
			if r.IntN(2) == 0 {
				builder.Set("Zone", "1")
			}
		}
		switch name {
		case "m":
			if a.value = float64(r.IntN(5)); r.IntN(4) == 0 {
				a.histogram = randomHistogram(a.value, false)
			}
		case "p":
			a.value, a.histogram = []float64{1, 2, 3, math.Inf(1), math.Inf(-1)}[r.IntN(5)], nil
		case "i":
			a.value, a.histogram = float64(r.IntN(4)), nil
			builder.Set("shelf", fmt.Sprint(r.IntN(6)))
		case "o":
			a.value, a.histogram = odd[r.IntN(len(odd))], nil
		case "b_bucket":
			builder.Set("le", []string{"0.1", "1", "+Inf"}[r.IntN(3)])
			a.value, a.histogram = float64(r.IntN(50)), nil
		}
		a.labels = keyOf(builder.Labels())
	}
	return all
}

// writing writes random expressions.
type writing struct {
	*rand.Rand
	// exact says that sums are of integers only.
	exact bool
}

func (w writing) one(of ...string) string { return of[w.IntN(len(of))] }

func (w writing) by() string {
	return w.one("", " by (job)", " by (job, instance)", " without (pod)", " without (instance, pod)", " by (nothing)", " by (__name__)", " by (Zone, pod)", " by (le)", " by (Area, shelf)")
}

// integers are series of integers.
func (w writing) integers(depth int) string {
	if depth <= 0 {
		return w.one("i", `i{instance!="1"}`, "i offset 7s", "i @ 1040", "i offset -3s", "b_bucket", "(i)", "i")
	}
	inner := w.integers(depth - 1)
	return w.one(
		"count_over_time(i[20s])", "sum_over_time(i[33s] offset 5s)", "changes(i[1m])", "resets(g[40s])", "max_over_time(i[20s])", "last_over_time(i[15s])", "present_over_time(o[20s])",
		"abs("+inner+")", "clamp("+inner+", 1, 3)", inner+" * 2", inner+" > 2", "3 < "+inner, inner+" >= bool 2", "-("+inner+")", inner+" + pi() * 0", "max_over_time(i[20s:5s])", "histogram_count(h) * 0",
		"max_over_time(abs(i)[20s:4s] offset 3s)",
	)
}

// series are those of any kind.
func (w writing) series(depth int) string {
	if depth <= 0 {
		return w.one("c", "g", "i", "o", "h", "hc", "m", "b_bucket", `{job="1"}`, `{__name__=~"i|g|o"}`, `o{instance!="2"}`, "g offset 7s", "c @ 1040", "o @ end()", "rate(c[20s])", "rate(c[20s + 5s])", "nothing")
	}
	inner := w.series(depth - 1)
	return w.one(
		w.integers(depth-1), inner,
		"rate(c[20s])", "increase(m[31s])", "rate(h[30s])", "irate(g[40s])", `rate({job="1"}[30s])`, "deriv(g[40s])", "predict_linear(g[40s], 10)", "quantile_over_time(0.5, o[40s])", "stddev_over_time(g[30s])",
		"sgn("+inner+")", "round("+inner+", 0.5)", "timestamp("+inner+")", "hour("+inner+")", inner+" / 3", "2 ^ ("+inner+")", inner+" < 3", inner+" != bool 0", "time() - ("+inner+")", "-("+inner+")",
		"rate(c[20s:3s])", `label_replace(`+inner+`, "job", "x$1", "instance", "(.*)")`, `label_join(`+inner+`, "x", "-", "job", "pod")`, "histogram_sum("+inner+")", "histogram_fraction(0, 2, "+inner+")",
		"clamp_min("+inner+", scalar(i))",
	)
}

// vector is an expression.
func (w writing) vector(depth int) string {
	if depth <= 0 {
		return w.series(w.IntN(3))
	}
	inner := w.vector(depth - 1)
	summed := inner
	if w.exact {
		summed = w.one(w.integers(w.IntN(3)), w.integers(w.IntN(2)), "m", "p", "h", "hc", "m * 2", "last_over_time(m[40s])", "rate(h[40s])", "h / 2")
	}
	return w.one(
		inner, w.series(2), w.one("sum", "avg")+w.by()+" ("+summed+")", w.one("sum", "avg")+w.by()+" ("+summed+")",
		w.one("count", "min", "max", "group")+w.by()+" ("+inner+")", w.one("count", "min", "max", "group")+w.by()+" ("+inner+")", w.one("min", "max")+w.by()+" ("+w.series(1)+")",
		w.one("topk", "bottomk")+w.by()+" ("+w.one("1", "2", "scalar(i)")+", "+inner+")", w.one("topk", "bottomk")+w.by()+" ("+w.one("1", "2", "3")+", "+w.integers(w.IntN(3))+")",
		w.one("topk", "bottomk")+w.one("", w.by())+" ("+w.one("1", "2", "3")+", "+w.one("count", "max", "min", "sum")+" by "+w.one("(shelf)", "(shelf, instance)")+" ("+w.integers(w.IntN(2))+"))",
		"sort("+w.one("count", "max", "min", "sum")+" by (shelf) ("+w.integers(w.IntN(2))+"))", "sort("+w.integers(w.IntN(2))+")", "stddev("+w.one("count", "max", "min")+" by (shelf, Area, Zone) (i * 0.3))",
		w.one("quantile"+w.by()+" (0.5, "+inner+")", "stddev"+w.by()+" ("+inner+")", "stdvar("+inner+")"),
		"count_values"+w.one("", " by (job)")+` ("v", `+inner+")", "histogram_quantile(0.9, "+inner+")", "histogram_quantile(0.5, sum by (le) (b_bucket))",
		w.one("sort", "sort_desc", "absent", "abs")+"("+inner+")", "vector(scalar("+inner+"))", "absent("+w.one("nothing", `nothing{job="x"}`, `i{instance="7", job="1"}`)+")", `absent_over_time(i{instance="1"}[3s])`,
		"("+inner+") "+w.one("+", "*", ">", "== bool", "and", "or", "unless")+w.one("", " on (job)", " ignoring (pod)")+" ("+w.vector(depth-1)+")",
		"("+inner+") / on (job) group_left () "+"max by (job) ("+w.series(1)+")", "max_over_time(("+w.integers(1)+")[20s:5s])", "("+inner+") or vector(0)",
	)
}

// isUnstable says whether an engine comes to something else each time: where the order of a
// map decides which of equals topk chooses.
func isUnstable(t *testing.T, e *Engine, x *Expression, at int64, o Options, first []string) bool {
	t.Helper()
	for range 50 {
		if !slices.Equal(first, sent(t, e, x, at, o)) {
			return true
		}
	}
	return false
}

// sent is what is sent of what an expression comes to.
func sent(t *testing.T, e *Engine, x *Expression, at int64, o Options) []string {
	t.Helper()
	got, err := e.Evaluate(t.Context(), x, at, at, 0, o)
	if err != nil {
		return []string{"error: " + err.Error()}
	}
	lines := written(plainly(got.Value), strings.TrimPrefix(strings.TrimPrefix(x.Text(), "topk"), "bottomk")) // which groups by the first of each
	for _, m := range AnnotationMessages(got.Annotations, x.Text()) {
		lines = append(lines, m.GetText())
	}
	return append(lines, fmt.Sprint("late ", got.Late))
}

// plainly is a value without what is not sent of it.
func plainly(v any) Vector {
	vector, _ := v.(Vector)
	for i := range vector {
		if h := vector[i].H; h != nil && HistogramMessage(0, h).GetResetHint() == 0 {
			vector[i].H = h.Copy()
			vector[i].H.CounterResetHint = 0
		}
	}
	return vector
}

// What groups evaluate for a router, each over its share of the series, comes to the same,
// bit by bit, as one engine with all series comes to: values, errors, annotations with their
// places, and how much was late. Sums are of integers, whose order does not matter.
func TestPushdown(t *testing.T) {
	texts, asked, fell := 0, 0, 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 4))
		groups := 1 + r.IntN(4)
		whole, router, local := withGroups(t, oddLog(r, 80), groups, sharedOut(r, groups))
		delay, step := time.Duration(r.IntN(12))*500*time.Millisecond, int64(1000*(1+r.IntN(5)))
		o := Options{Viewer: viewer, Delay: &delay, Lookback: 30 * time.Second, Late: step}
		w := writing{r, true}
		for range 80 {
			text := w.vector(r.IntN(4))
			x, err := whole.Parse(t.Context(), viewer, text)
			if err != nil {
				continue
			}
			x = x.Canonical()
			at := int64(begun) + int64(10+r.IntN(120))*1000
			wanted := sent(t, whole, x, at, o)
			got := sent(t, router, x, at, o)
			if !slices.Equal(wanted, got) && isUnstable(t, whole, x, at, o, wanted) {
				continue
			}
			require.Equal(t, wanted, got, "seed %d, %d groups, %s at %d", seed, groups, text, at)
			texts++
		}
		asked, fell = asked+local.asked, fell+local.whole
	}
	t.Logf("%d expressions, %d leaves, %d of which could not be evaluated by all groups", texts, asked, fell)
	require.Greater(t, asked, texts/2)
}

// viewed is a viewer who sees a part of the series.
func viewed(t *testing.T, allowed ...string) selection.Viewer {
	t.Helper()
	s, err := selection.DefaultLimits().Compile(allowed)
	require.NoError(t, err)
	return selection.Viewer{Peer: "peer", Allowed: s}
}

// Sums and averages of floats differ by the order in which those are added: by no more than
// 2^-50 of the sum of the absolute values for each group.
func TestPushdownSums(t *testing.T) {
	differed := 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 5))
		groups := 1 + r.IntN(4)
		whole, router, local := withGroups(t, randomLog(r, 120), groups, sharedOut(r, groups))
		delay := 2 * time.Second
		o := Options{Viewer: viewer, Delay: &delay, Lookback: 30 * time.Second, Late: 1000}
		for _, inner := range []string{"c", "g", "rate(c[20s])", "g * 1e300", "c * 1e-300", "increase(c[40s])", "g ^ 3"} {
			for _, by := range []string{"", " by (job)", " without (pod)"} {
				at := int64(begun) + int64(20+r.IntN(100))*1000
				evaluate := func(e *Engine, text string) map[string]float64 {
					x, err := e.Parse(t.Context(), viewer, text)
					require.NoError(t, err)
					got, err := e.Evaluate(t.Context(), x, at, at, 0, o)
					require.NoError(t, err)
					values := map[string]float64{}
					for _, s := range got.Value.(Vector) {
						values[s.Metric.String()] = s.F
					}
					return values
				}
				bounds, counts := evaluate(whole, "sum"+by+"(abs("+inner+"))"), evaluate(whole, "count"+by+"("+inner+")")
				for _, op := range []string{"sum", "avg"} {
					text := op + by + "(" + inner + ")"
					want, got := evaluate(whole, text), evaluate(router, text)
					require.Len(t, got, len(want), text)
					for ls, value := range want {
						bound := bounds[ls] * math.Pow(2, -50) * float64(groups)
						if op == "avg" {
							bound /= counts[ls]
						}
						require.InDelta(t, value, got[ls], bound, "%s of %s", text, ls)
						if value != got[ls] {
							differed++
						}
					}
					require.Equal(t, got, evaluate(router, text), "the same each time")
				}
			}
		}
		require.NotZero(t, local.asked)
	}
	require.NotZero(t, differed)
}

// Where series move from one group to another, an expression that reads samples from before
// and after that is evaluated whole, and any other by the groups.
func TestPushdownMoved(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 6))
	all := oddLog(r, 200)
	moved := int64(begun) + 100_000
	dir := t.TempDir()
	writeLogs(t, dir, [][]arrival{all})
	whole := openEngine(t, dir, DefaultConfig(), time.Hour)
	local := &localGroups{t: t, moved: []int64{moved}, came: map[bool]int{}}
	for g := range 2 {
		of := slices.DeleteFunc(slices.Clone(all), func(a arrival) bool { return (a.timestamp >= moved) != (g == 1) })
		dir := t.TempDir()
		writeLogs(t, dir, [][]arrival{of})
		local.engines = append(local.engines, openEngine(t, dir, DefaultConfig(), time.Hour))
	}
	from := whole.shared
	from.Groups = local
	router := New(DefaultConfig(), from)
	delay := 2 * time.Second
	o := Options{Viewer: viewer, Delay: &delay, Lookback: 30 * time.Second, Late: 1000}
	for text, reach := range map[string][2]int64{
		"sum by (job) (i)": {-29_999, 0}, "count(rate(c[40s]))": {-39_999, 0}, "g offset 20s": {-49_999, -20_000}, "max(i offset -10s)": {-19_999, 10_000},
		"max by (job) (max_over_time(i[1m:5s]))": {-89_999, 0}, "topk(3, count_over_time(c[20s + 5s]))": {-24_999, 0},
	} {
		for at := moved - 20_000; at < moved+120_000; at += 1000 {
			asked := local.asked
			x, err := whole.Parse(t.Context(), viewer, text)
			require.NoError(t, err)
			require.Equal(t, sent(t, whole, x, at, o), sent(t, router, x, at, o), "%s at %d", text, at)
			crosses := at+reach[0] < moved && moved <= at+reach[1]
			if pushes := !strings.Contains(text, "20s + 5s"); pushes {
				require.Equal(t, !crosses, local.asked > asked, "%s at %d", text, at-moved)
			}
		}
	}
}

// Groups evaluate an expression for those that a policy shows a part of the series with
// the matchers of that policy, if one selector says it all.
func TestPushdownViewer(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 6))
	whole, router, local := withGroups(t, oddLog(r, 100), 3, sharedOut(r, 3))
	delay := 2 * time.Second
	for _, c := range []struct {
		allowed []string
		pushed  bool
	}{
		{[]string{`{job="1"}`}, true},
		{[]string{`{__name__=~"i|c", instance!="2"}`}, true},
		{[]string{`i{job="1"}`, `c`}, false},
	} {
		o := Options{Viewer: viewed(t, c.allowed...), Delay: &delay, Lookback: 30 * time.Second, Late: 1000}
		for _, text := range []string{"sum by (job) (i)", "max by (instance) (rate(c[30s]))", `count({job=~".+"})`, `i{pod!="x"} > 2`, `absent(i{job="0"})`} {
			x, err := whole.Parse(t.Context(), o.Viewer, text)
			require.NoError(t, err)
			for at := int64(begun) + 30_000; at < begun+150_000; at += 10_000 {
				asked := local.asked
				require.Equal(t, sent(t, whole, x, at, o), sent(t, router, x, at, o), "%s of %v at %d", text, c.allowed, at)
				require.Equal(t, c.pushed, local.asked > asked)
			}
		}
	}
}

// A follower has groups go on from step to step, and a range has them evaluate its own.
func TestPushdownSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 6))
	whole, router, local := withGroups(t, oddLog(r, 100), 3, sharedOut(r, 3))
	delay, step := 2*time.Second, int64(3000)
	o := Options{Viewer: viewer, Delay: &delay, Lookback: 30 * time.Second, Late: step}
	for _, text := range append([]string{"sum by (job) (i)", "avg without (pod) (i)", "i > 2"}, followedTexts...) {
		x, err := whole.Parse(t.Context(), viewer, text)
		require.NoError(t, err)
		if strings.Contains(text, "sum") || strings.Contains(text, "avg") {
			continue // whose last bits may differ
		}
		start, end := int64(begun)+30_000, int64(begun)+30_000+20*step
		f := router.Follow(x, o)
		before := local.asked
		for at := start; at <= end; at += step {
			want, err := whole.Evaluate(t.Context(), x, at, at, 0, o)
			require.NoError(t, err)
			got, err := f.Evaluate(t.Context(), viewer, at)
			require.NoError(t, err)
			require.Equal(t, written(plainly(want.Value), "sort"), written(plainly(got.Value), "sort"), "%s at %d", text, at)
			require.Equal(t, want.Late, got.Late, text)
		}
		require.LessOrEqual(t, local.asked-before, 2, text)
		f.Close()
		want, err := whole.Evaluate(t.Context(), x, start, end, step, o)
		require.NoError(t, err)
		got, err := router.Evaluate(t.Context(), x, start, end, step, o)
		require.NoError(t, err)
		require.Equal(t, written(want.Value, ""), written(got.Value, ""), text)
		require.Equal(t, want.Late, got.Late, text)
	}
	require.Equal(t, local.asked, local.closed)
	require.Zero(t, router.shared.Bytes.Used())
}

// What a rule has resulted in is not at the groups.
func TestPushdownOverlay(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 6))
	whole, router, local := withGroups(t, oddLog(r, 100), 2, sharedOut(r, 2))
	delay, at := 2*time.Second, int64(begun+90_000)
	var b chunk.Builder
	b.Float(at, 0, 42)
	o := Options{Viewer: viewer, Delay: &delay, Lookback: 30 * time.Second, Overlay: []chunk.Series{{Labels: labels.FromStrings(model.MetricNameLabel, "made"), Chunks: b.Take()}}}
	for text, pushed := range map[string]bool{"sum(i)": true, "max(made)": false, `count({__name__=~"made|i"})`: false} {
		x, err := whole.Parse(t.Context(), viewer, text)
		require.NoError(t, err)
		asked := local.asked
		require.Equal(t, sent(t, whole, x, at, o), sent(t, router, x, at, o), text)
		require.Equal(t, pushed, local.asked > asked, text)
	}
}

// Every expression that Prometheus tests its engine with comes to the same where groups
// evaluate what they can, each over its share of the series.
func TestPushdownPrometheusTests(t *testing.T) {
	asked, compared := 0, 0
	for n, c := range corpora(t) {
		r := rand.New(rand.NewPCG(uint64(n), 7))
		var all []arrival
		var whole, router *Engine
		local := new(localGroups)
		for _, command := range c.commands {
			switch command := command.(type) {
			case clearing:
				all, whole = nil, nil
			case *load:
				for _, s := range samplesOf(command) {
					all = append(all, arrival{s, s.timestamp})
				}
				slices.SortStableFunc(all, func(a, b arrival) int { return cmp.Compare(a.block, b.block) })
				whole = nil
			case evaluated:
				if whole == nil {
					asked += local.asked
					groups := 2 + r.IntN(2)
					whole, router, local = withGroups(t, all, groups, sharedOut(r, groups))
				}
				x, err := whole.Parse(t.Context(), viewer, command.text)
				if err != nil || x.Type() != parser.ValueTypeVector {
					continue
				}
				delay := 10 * time.Second
				o := Options{Viewer: viewer, Delay: &delay, Lookback: 5 * time.Minute, Late: 1000}
				x = x.Canonical()
				for _, at := range []int64{command.steps.start, command.steps.end} {
					want, got := sent(t, whole, x, at, o), sent(t, router, x, at, o)
					if compared++; !slices.Equal(want, got) && isUnstable(t, whole, x, at, o, want) {
						continue
					}
					require.Equal(t, want, got, "%s:%d: %s at %d", c.name, command.line, x.Text(), at)
				}
			}
		}
		asked += local.asked
	}
	t.Logf("%d evaluations, %d leaves", compared, asked)
	require.Greater(t, asked, compared/2)
}
