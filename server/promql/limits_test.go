package promql

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
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
