package promql

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// requireLimit checks that an error is of a limit.
func requireLimit(t *testing.T, flag string, passing bool, err error) {
	t.Helper()
	var over *limit.Error
	require.ErrorAs(t, err, &over)
	require.Equal(t, strings.TrimPrefix(flag, "--limit."), over.Name)
	require.Equal(t, passing, over.Passing)
	require.ErrorContains(t, err, flag)
}

func TestOperations(t *testing.T) {
	c := DefaultConfig()
	c.Operations = 20
	e := openEngine(t, t.TempDir(), c, time.Hour)
	for _, text := range []string{
		strings.Repeat("(", c.Operations) + "1" + strings.Repeat(")", c.Operations),
		"1" + strings.Repeat(" + 1", c.Operations),
		strings.Repeat("-", c.Operations) + "1",
		`{a="1",b!="2",c=~"3",d!~"4"}` + strings.Repeat(` or x{e="5"}`, c.Operations),
		"x" + strings.Repeat("[1m:]", c.Operations/4),
	} {
		_, err := e.Parse(t.Context(), viewer, text)
		if !strings.Contains(text, ":") {
			require.NoError(t, err, text)
		}
		text = "-(" + text + ")"
		_, err = e.Parse(t.Context(), viewer, text)
		if !strings.Contains(text, ":") {
			requireLimit(t, FlagOperations, false, err)
		}
	}
}

func TestRegexpsAreMeasuredFirst(t *testing.T) {
	e := openEngine(t, t.TempDir(), DefaultConfig(), time.Hour)
	large := strings.Repeat("x{1000}", 1000)
	for _, text := range []string{
		`x{a=~"` + large + `"}`,
		`label_replace(x, "a", "$1", "b", "` + large + `")`,
		`label_replace(x, "a", "$1", "b", '` + large + `')`,
		"1" + strings.Repeat(` or x{a!~"`+strings.Repeat("x{1000}", 10)+`"}`, 100),
	} {
		_, err := e.Parse(t.Context(), viewer, text)
		requireLimit(t, "--limit.selector-size", false, err)
		_, err = e.ParseSelectors(t.Context(), viewer, []string{"x", text})
		if !strings.Contains(text, "label_replace") {
			requireLimit(t, "--limit.selector-size", false, err)
		}
	}
}

func TestEvaluationsTakeTurns(t *testing.T) {
	c := DefaultConfig()
	c.Queries = 1
	e := openEngine(t, t.TempDir(), c, time.Hour)
	x, err := e.Parse(t.Context(), viewer, "1")
	require.NoError(t, err)
	turn := e.shared.Turns.Hold("other")
	require.NoError(t, turn.Wait(t.Context(), 1))
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() {
		_, err := e.Evaluate(ctx, x, 0, 0, 0, Options{Viewer: viewer})
		waited <- err
	}()
	require.Eventually(t, func() bool { return e.shared.Turns.Waiting() == 1 }, time.Minute, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-waited, context.Canceled)
	go func() {
		_, err := e.Evaluate(t.Context(), x, 0, 0, 0, Options{Viewer: viewer})
		waited <- err
	}()
	turn.Release()
	require.NoError(t, <-waited)
}

func TestEvaluationTime(t *testing.T) {
	c := DefaultConfig()
	c.Time = time.Millisecond
	e := openEngine(t, t.TempDir(), c, time.Hour)
	x, err := e.Parse(t.Context(), viewer, "sum_over_time(vector(1)[1000000:1])")
	require.NoError(t, err)
	_, err = e.Evaluate(t.Context(), x, 0, 1000_000, 1000, Options{Viewer: viewer})
	requireLimit(t, FlagTime, false, err)
}

func TestSamples(t *testing.T) {
	c := DefaultConfig()
	c.Samples = 1000
	e := openEngine(t, t.TempDir(), c, time.Hour)
	x, err := e.Parse(t.Context(), viewer, "sum_over_time(vector(1)[2000:1])")
	require.NoError(t, err)
	_, err = e.Evaluate(t.Context(), x, 0, 0, 0, Options{Viewer: viewer})
	requireLimit(t, FlagSamples, false, err)
}

// many is an engine on a log with many series.
func many(t *testing.T, c Config, n int) *Engine {
	t.Helper()
	var given []sampleOf
	for at := range int64(2) {
		for i := range n {
			given = append(given, sampleOf{labels: keyOf(labels.FromStrings("__name__", "m", "i", strconv.Itoa(i))), timestamp: at * 1000, value: 1})
		}
	}
	e := loaded(t, given, 2)
	shared := e.shared
	shared.Bytes = limit.NewBudget(FlagBytes, "bytes", int64(c.Bytes), int64(c.Bytes))
	return New(c, shared)
}

// What an evaluation reads and makes of it is held before it is there, and given back.
func TestBytes(t *testing.T) {
	const n = 2000
	c := DefaultConfig()
	c.Bytes = 2 * n * (samples.SeriesBytes + samples.ChunkBytes + pointBytes)
	e := many(t, c, n)
	x, err := e.Parse(t.Context(), viewer, "m")
	require.NoError(t, err)
	o := Options{Viewer: viewer, Lookback: 10 * time.Second} // which the window has
	_, err = e.Evaluate(t.Context(), x, 1000, 1000, 0, o)
	require.NoError(t, err)
	_, err = e.Evaluate(t.Context(), x, 1000, 101_000, 1000, o) // more points than there is room for
	requireLimit(t, FlagBytes, false, err)
	require.Zero(t, e.shared.Bytes.Used())

	f := e.Follow(x, o)
	_, err = f.Evaluate(t.Context(), viewer, 1000)
	require.NoError(t, err)
	kept := e.shared.Bytes.Used()
	require.GreaterOrEqual(t, kept, int64(n*samples.SeriesBytes))
	f.Close()
	require.Zero(t, e.shared.Bytes.Used())

	other := e.shared.Bytes.Hold("other")
	require.NoError(t, other.Resize(int64(c.Bytes)-samples.SeriesBytes))
	_, err = e.Evaluate(t.Context(), x, 1000, 1000, 0, o)
	requireLimit(t, FlagBytes, true, err)
}

// Nobody computes for a caller that has left.
func TestCallerLeaves(t *testing.T) {
	e := many(t, DefaultConfig(), 10)
	x, err := e.Parse(t.Context(), viewer, "sum_over_time(count_over_time(m[1m])[1000000:1])")
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	time.AfterFunc(50*time.Millisecond, func() { cancel(gone) })
	_, err = e.Evaluate(ctx, x, 0, 1000_000, 1000, Options{Viewer: viewer})
	require.ErrorIs(t, err, gone)
	require.Zero(t, e.shared.Turns.Used())
}

// Series are found in turn, and without reading their samples.
func TestSeries(t *testing.T) {
	const n, each = 50, 200
	var given []sampleOf
	for at := range int64(each) {
		for i := range n {
			given = append(given, sampleOf{labels: keyOf(labels.FromStrings("__name__", "m", "i", strconv.Itoa(i))), timestamp: at * 1000, value: math.Sqrt(float64(at * int64(i)))})
		}
	}
	e := loaded(t, given, 0) // from segments
	c, shared := DefaultConfig(), e.shared
	c.Queries, c.Bytes = 1, n*(samples.SeriesBytes+100)
	shared.Bytes = limit.NewBudget(FlagBytes, "bytes", int64(c.Bytes), int64(c.Bytes))
	shared.Turns = limit.NewBudget(FlagQueries, "turns", 1, 1)
	e = New(c, shared)
	sets, err := e.ParseSelectors(t.Context(), viewer, []string{"m"})
	require.NoError(t, err)
	turn := shared.Turns.Hold("other")
	require.NoError(t, turn.Wait(t.Context(), 1))
	found := 0
	done := make(chan error, 1)
	go func() {
		done <- e.Series(t.Context(), viewer, sets, 0, each*1000, func(labels.Labels) error { found++; return nil })
	}()
	require.Eventually(t, func() bool { return shared.Turns.Waiting() == 1 }, time.Minute, time.Millisecond)
	turn.Release()
	require.NoError(t, <-done)
	require.Equal(t, n, found)
	require.Zero(t, shared.Bytes.Used())

	x, err := e.Parse(t.Context(), viewer, "sum_over_time(m[1h])")
	require.NoError(t, err)
	_, err = e.Evaluate(t.Context(), x, each*1000, each*1000, 0, Options{Viewer: viewer})
	requireLimit(t, FlagBytes, false, err)
}

// Who may see some series only gets what there would be without the others: in results and
// in errors.
func TestViewers(t *testing.T) {
	e := many(t, DefaultConfig(), 10)
	allowed, err := selection.DefaultLimits().Compile([]string{`{i=~"[3-5]"}`, `{i="9"}`})
	require.NoError(t, err)
	restricted := selection.Viewer{Peer: "peer", Allowed: allowed}
	o := Options{Viewer: restricted, Lookback: 10 * time.Second}
	for text, want := range map[string]float64{
		"count(m)": 4, `count(m{i=~"[0-4]"})`: 2, `count(m{i!="3"})`: 3, `count({__name__=~".+"})`: 4, `count(m @ 1)`: 4, `count(max_over_time(m[10s:1s]))`: 4,
		`count(m) + count(m{i="0"} or m)`: 8, `count(absent(m{i="0"}))`: 1,
	} {
		x, err := e.Parse(t.Context(), restricted, text)
		require.NoError(t, err)
		got, err := e.Evaluate(t.Context(), x, 1000, 1000, 0, o)
		require.NoError(t, err, text)
		require.Equal(t, written(Vector{{T: 1000, F: want}}, text), written(got.Value, text), text)
		f := e.Follow(x, o)
		got, err = f.Evaluate(t.Context(), restricted, 1000)
		f.Close()
		require.NoError(t, err, text)
		require.Equal(t, written(Vector{{T: 1000, F: want}}, text), written(got.Value, text), text)
	}
	var seen []string
	require.NoError(t, e.Series(t.Context(), restricted, [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")}}, 0, 1000, func(ls labels.Labels) error {
		seen = append(seen, ls.Get("i"))
		return nil
	}))
	require.Equal(t, []string{"3", "4", "5", "9"}, seen)
}

// An overlay counts besides the series of the logs, and in their place.
func TestOverlay(t *testing.T) {
	e := many(t, DefaultConfig(), 2)
	var b chunk.Builder
	b.Float(1000, 0, 7)
	chunks := b.Take()
	overlay := []chunk.Series{
		{Labels: labels.FromStrings("__name__", "m", "i", "1"), Chunks: chunks},
		{Labels: labels.FromStrings("__name__", "m", "i", "2"), Chunks: chunks},
		{Labels: labels.FromStrings("__name__", "n"), Chunks: chunks},
	}
	x, err := e.Parse(t.Context(), viewer, "m")
	require.NoError(t, err)
	delay := 5 * time.Second
	for _, o := range []Options{{Viewer: viewer, Overlay: overlay}, {Viewer: viewer, Overlay: overlay, Delay: &delay}} {
		got, err := e.Evaluate(t.Context(), x, 1000, 1000, 0, o)
		require.NoError(t, err)
		values := map[string]float64{}
		for _, s := range got.Value.(Vector) {
			values[s.Metric.Get("i")] = s.F
		}
		require.Equal(t, map[string]float64{"0": 1, "1": 7, "2": 7}, values)
	}
}

// Numbers and texts of a caller make nothing large before a limit is asked.
func TestEvilExpressions(t *testing.T) {
	e := many(t, DefaultConfig(), 10)
	doubled, joined := "m", "m"
	for range 40 {
		doubled = `label_replace(` + doubled + `, "i", "$1$1", "i", "(.*)")`
		joined = `label_join(` + joined + `, "i", "", "i", "i")`
	}
	for _, text := range []string{
		"max_over_time(m[10y:1ms])", "max_over_time(m[290y:1ms])", "max_over_time(max_over_time(m[1y:1s])[1y:1s])", "max_over_time(m[10y:1ms] @ 5)", "max_over_time(m[10y:1ms] offset 5y)",
		"max_over_time(m[10y:1ms] offset -5y)", "max_over_time(max_over_time(max_over_time(m[290y:])[290y:])[290y:])", "max_over_time(m[10y*29:1ms])", "max_over_time(m[10y:0.001])", "max_over_time(vector(1)[10y:1ms])",
		"sum(sum_over_time((m + on () group_left () vector(1))[9y:1ms]))", doubled, joined,
		strings.ReplaceAll(doubled, "m", `label_replace(vector(1), "i", "x", "", "")`),
	} {
		for _, steps := range []span{{start: 1000, end: 1000}, {0, 1000, 1000}, {math.MinInt32, math.MaxInt32, 100}} {
			x, err := e.Parse(t.Context(), viewer, text)
			if err == nil {
				_, err = e.Evaluate(t.Context(), x, steps.start, steps.end, steps.step, Options{Viewer: viewer})
			}
			var over *limit.Error
			require.ErrorAs(t, err, &over, text)
		}
	}
	for _, text := range []string{
		"topk(1e18, m)", "bottomk(1e18, m)", "quantile(1e300, m)", "m[290y]", "max_over_time(m[290y])", "m offset 290y", "m offset -290y", "m @ 9e12", "max_over_time(m[1h:1s])",
		"count_values(\"v\", m)", "round(m, 1e-300)", "holt(m)", "predict_linear(m[1h], 1e300)", "max_over_time(m[1m:1ms])", "clamp(m, -Inf, NaN)", "m[290y:290y]",
		`label_replace(m, "i", "$1$1", "i", "(.*)")`, "vector(1e309)", "time() ^ 1e308",
	} {
		x, err := e.Parse(t.Context(), viewer, text)
		if err != nil {
			continue
		}
		_, err = e.Evaluate(t.Context(), x, 1000, 1000, 0, Options{Viewer: viewer})
		require.NoError(t, err, text)
	}
	x, err := e.Parse(t.Context(), viewer, "m")
	require.NoError(t, err)
	_, err = e.Evaluate(t.Context(), x, 0, time.Now().UnixMilli(), 1, Options{Viewer: viewer})
	requireLimit(t, FlagSamples, false, err)
	require.Zero(t, e.shared.Bytes.Used())
}

// The points that a subquery makes are held.
func TestPointsOfSubqueries(t *testing.T) {
	const n = 1000
	c := DefaultConfig()
	c.Bytes = 2 * n * (samples.SeriesBytes + samples.ChunkBytes + pointBytes*100)
	e := many(t, c, n)
	for text, fails := range map[string]bool{"count(max_over_time(m[50s:1s]))": false, "count(max_over_time(m[50s:100ms]))": true, "count(max_over_time(rate(m[20s])[50s:100ms]))": true} {
		x, err := e.Parse(t.Context(), viewer, text)
		require.NoError(t, err)
		_, err = e.Evaluate(t.Context(), x, 1000, 1000, 0, Options{Viewer: viewer, Lookback: 10 * time.Second})
		require.Zero(t, e.shared.Bytes.Used())
		if fails {
			requireLimit(t, FlagBytes, false, err)
			continue
		}
		require.NoError(t, err, text)
	}
}

// What is made of labels is held: texts that are written to all series, what is copied from
// one to all others, and what becomes longer by itself.
func TestLabelsThatGrow(t *testing.T) {
	const n = 1000
	c := DefaultConfig()
	c.Bytes = 2 * n * (samples.SeriesBytes + samples.ChunkBytes + pointBytes + 100)
	e := many(t, c, n)
	text := strings.Repeat("x", 1000)
	nested := "m"
	for i := range 20 {
		nested = `label_replace(` + nested + `, "l` + strconv.Itoa(i%2) + `", "$1", "i", "(.*)")`
	}
	for _, test := range []struct {
		text  string
		fails bool
	}{
		{`label_replace(m, "l", "$1", "i", "(.*)")`, false},
		{nested, false},
		{`label_join(m, "l", "-", "i", "__name__")`, false},
		{`m * on () group_left (l) label_replace(vector(1), "l", "x", "", "")`, false},
		{`count(label_replace(m{i="1"}, "l", "` + text + `", "", ""))`, false},
		{`count(label_replace(m, "l", "` + text + `", "", ""))`, true},
		{`count(label_join(m, "l", "` + text + `", "i", "i"))`, true},
		{`count(label_replace(m, "l", "` + strings.Repeat("$1", 1000) + `", "i", "(.*)"))`, true},
		{`count(m * on () group_left (l) label_replace(vector(1), "l", "` + text + `", "", ""))`, true},
		{`count(label_replace(vector(1), "l", "` + text + `", "", "") * on () group_right (l) m)`, true},
	} {
		x, err := e.Parse(t.Context(), viewer, test.text)
		require.NoError(t, err, test.text)
		_, err = e.Evaluate(t.Context(), x, 1000, 1000, 0, Options{Viewer: viewer, Lookback: 10 * time.Second})
		require.Zero(t, e.shared.Bytes.Used(), test.text)
		if test.fails {
			requireLimit(t, FlagBytes, false, err)
			continue
		}
		require.NoError(t, err, test.text)
	}
}
