package register

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func counter(help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "some_total", Help: help})
}

func TestOneMetricIsShared(t *testing.T) {
	reg := prometheus.NewRegistry()
	first, second := counter("Help."), counter("Help.")
	require.Same(t, first, Shared(reg, first))
	require.Same(t, first, Shared(reg, second))
	require.Same(t, second, Shared(prometheus.NewRegistry(), second), "another registerer has its own")
}

// A registerer that tells parts apart has one for each of them.
func TestPartsToldApart(t *testing.T) {
	reg := prometheus.NewRegistry()
	part := func(name string) prometheus.Registerer {
		return prometheus.WrapRegistererWith(prometheus.Labels{"part": name}, reg)
	}
	first, second, third := counter("Help."), counter("Help."), counter("Help.")
	require.Same(t, first, Shared(part("a"), first))
	require.Same(t, second, Shared(part("b"), second))
	require.Same(t, first, Shared(part("a"), third))
}

func TestWithoutARegisterer(t *testing.T) {
	c := counter("Help.")
	require.Same(t, c, Shared(nil, c))
}

// A metric that cannot be shown is not counted in silence.
func TestTwoMetricsOfOneName(t *testing.T) {
	for name, another := range map[string]func(prometheus.Registerer){
		"another help": func(reg prometheus.Registerer) { Shared(reg, counter("Another help.")) },
		"other labels": func(reg prometheus.Registerer) {
			Shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "some_total", Help: "Help."}, []string{"code"}))
		},
		"another type": func(reg prometheus.Registerer) {
			Shared(reg, prometheus.NewGauge(prometheus.GaugeOpts{Name: "some_total", Help: "Help."}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			Shared(reg, counter("Help."))
			require.Panics(t, func() { another(reg) })
		})
	}
}
