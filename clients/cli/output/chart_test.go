package output

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

const chartStep = 15 * time.Second

// curves returns n series with a value at each of so many steps, which end at t0. NaN
// comes as no sample at every other step, and as NaN at the others.
func curves(n, steps int, value func(step, series int) float64) []*metricsv1.TimeSeries {
	var all []*metricsv1.TimeSeries
	for i := range n {
		s := &metricsv1.TimeSeries{Labels: labels("__name__", "requests", "instance", fmt.Sprint("server-", i))}
		for step := range steps {
			if v := value(step, i); !math.IsNaN(v) || step%2 == 0 {
				at := t0 - int64(steps-1-step)*chartStep.Milliseconds()
				s.Samples = append(s.Samples, &metricsv1.Sample{Timestamp: at, Value: v})
			}
		}
		all = append(all, s)
	}
	return all
}

// drawnChart returns the lines of a chart.
func drawnChart(t *testing.T, width, height int, o ChartOptions, all []*metricsv1.TimeSeries) []string {
	t.Helper()
	o.Step, o.Size = chartStep, func() (int, int, error) { return width, height, nil }
	var b bytes.Buffer
	c := NewChart(&b, o)
	require.NoError(t, c.Series(all))
	require.NoError(t, c.Event(Event{Steps: &Steps{Evaluated: t0}}))
	require.NoError(t, c.Close())
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// TestChart draws what testdata/charts has.
func TestChart(t *testing.T) {
	var all strings.Builder
	for _, tc := range []struct {
		name   string
		o      ChartOptions
		series []*metricsv1.TimeSeries
	}{
		{"a line", ChartOptions{Unicode: true}, curves(1, 41, func(step, _ int) float64 { return float64(step) * 100 })},
		{"letters", ChartOptions{}, curves(2, 41, func(step, series int) float64 { return float64(series*step) * 1e-4 })},
		{"more than fit", ChartOptions{Unicode: true}, curves(5, 41, func(_, series int) float64 { return float64(series) })},
		{"gaps", ChartOptions{Unicode: true}, curves(1, 41, func(step, _ int) float64 {
			if step/10%2 == 1 {
				return math.NaN()
			}
			return 1
		})},
		{"held, and gone", ChartOptions{Unicode: true, Held: true}, []*metricsv1.TimeSeries{{
			Labels: labels("__name__", "up"), Samples: []*metricsv1.Sample{
				{Timestamp: t0 - 600_000, Value: 1}, {Timestamp: t0 - 400_000, Value: 0},
				{Timestamp: t0 - 300_000, Value: 1}, {Timestamp: t0 - 150_000, Value: stale},
			},
		}}},
		{"the last five minutes", ChartOptions{Unicode: true, Span: 5 * time.Minute}, curves(1, 41, func(step, _ int) float64 { return float64(step) })},
		{"negative, and always the same", ChartOptions{}, curves(1, 41, func(int, int) float64 { return -42 })},
		{"one step", ChartOptions{Unicode: true}, curves(1, 1, func(int, int) float64 { return 1 })},
		{"nothing", ChartOptions{}, nil},
	} {
		lines := drawnChart(t, 40, 12, tc.o, tc.series)
		fmt.Fprintf(&all, "%s:\n%s\n", tc.name, strings.Join(lines, "\n"))
	}
	metricstest.Golden(t, "charts", []byte(all.String()))
}

// A chart that goes on for long merges what is close together, and keeps the lowest
// and the highest.
func TestChartIsBounded(t *testing.T) {
	c := newChart(ChartOptions{Step: chartStep})
	const steps = 5 * maxPoints
	for step := range steps {
		v := math.Sin(float64(step))
		switch step {
		case steps / 3:
			v = 100
		case steps / 2:
			v = -100
		}
		c.add([]*metricsv1.TimeSeries{{Samples: []*metricsv1.Sample{{Timestamp: int64(step) * chartStep.Milliseconds(), Value: v}}}})
		require.LessOrEqual(t, len(c.lines["{}"].points), maxPoints)
	}
	low, high, start, end := c.bounds(c.sorted())
	require.Equal(t, []float64{-100, 100}, []float64{low, high})
	require.Equal(t, int64(steps-1)*chartStep.Milliseconds(), end)
	require.Less(t, start, end/10)

	c.add(curves(maxLines+5, 1, func(int, int) float64 { return 1 }))
	require.Len(t, c.lines, maxLines)
	require.Contains(t, c.status(), "the first 1000 are shown")
}

// A series that comes after others have gone is told apart from those that are left.
func TestChartTellsNewLinesApart(t *testing.T) {
	c := newChart(ChartOptions{Step: chartStep, Span: chartStep})
	for step := range int64(4) {
		for i := range int64(3) {
			s := &metricsv1.TimeSeries{
				Labels:  labels("__name__", "requests", "instance", fmt.Sprint("server-", step+i)),
				Samples: []*metricsv1.Sample{{Timestamp: t0 + step*chartStep.Milliseconds(), Value: 1}},
			}
			c.add([]*metricsv1.TimeSeries{s})
		}
		seen := map[int]string{}
		for name, l := range c.lines {
			require.Empty(t, seen[l.number], "has the number of %s", name)
			seen[l.number] = name
			require.Less(t, l.number, 6, name)
		}
	}
}

// Whatever the values are, a chart keeps to its size, and draws each line.
func TestChartKeepsToItsSize(t *testing.T) {
	wave := func(amplitude float64) func(int, int) float64 {
		return func(step, series int) float64 {
			return amplitude * (math.Sin(float64(step+series)/10) + float64(series)/100) / 2
		}
	}
	for name, value := range map[string]func(int, int) float64{
		"wave":        wave(1e4),
		"huge":        wave(math.MaxFloat64),
		"tiny":        wave(1e-12),
		"denormal":    func(step, _ int) float64 { return math.SmallestNonzeroFloat64 * float64(step%5) },
		"narrow":      func(step, _ int) float64 { return 1e15 + float64(step)/8 },
		"a constant":  func(int, int) float64 { return 3 },
		"huge, still": func(int, int) float64 { return math.MaxFloat64 },
		"tiny, still": func(int, int) float64 { return math.SmallestNonzeroFloat64 },
		"zero":        func(int, int) float64 { return math.Copysign(0, -1) },
		"infinite at times": func(step, _ int) float64 {
			return []float64{1, math.Inf(1), 2, math.Inf(-1), math.NaN()}[step%5]
		},
	} {
		for _, size := range [][2]int{{80, 24}, {200, 50}, {20, 4}, {33, 9}} {
			for _, series := range []int{1, 5, 60} {
				for _, o := range []ChartOptions{{}, {Unicode: true}, {Unicode: true, Colour: true}, {Colour: true}, {Held: true}, {Span: time.Minute}} {
					about := fmt.Sprintf("%s %v %d series %+v", name, size, series, o)
					lines := drawnChart(t, size[0], size[1], o, curves(series, 60, value))
					for _, line := range lines {
						bare := styled(line, false)
						require.LessOrEqual(t, utf8.RuneCountInString(bare), max(size[0], widestLabel), about+"\n"+strings.Join(lines, "\n"))
						if !o.Unicode {
							require.NotContains(t, strings.Map(beyondASCII, bare), "?", about)
						}
					}
					require.LessOrEqual(t, len(lines), max(size[1], minPlot+4), about)
					requireDrawn(t, lines, o, about)
				}
			}
		}
	}
}

func beyondASCII(r rune) rune {
	if r > '~' {
		return '?'
	}
	return r
}

// widestLabel is how wide a chart is at least that has values of all digits.
const widestLabel = 30

// requireDrawn requires something between the axis and the margin.
func requireDrawn(t *testing.T, lines []string, o ChartOptions, about string) {
	t.Helper()
	sides := "|+"
	if o.Unicode {
		sides = "│┤"
	}
	for _, line := range lines {
		bare := styled(line, false)
		if i := strings.IndexAny(bare, sides); i >= 0 && strings.Trim(bare[i:], sides+" ") != "" {
			return
		}
	}
	require.Fail(t, "nothing is drawn", about+"\n"+strings.Join(lines, "\n"))
}
