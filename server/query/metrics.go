package query

import "github.com/prometheus/client_golang/prometheus"

// metrics are counted as things happen in queries.
type metrics struct {
	evaluations   *prometheus.CounterVec
	shared        prometheus.Counter
	steps, late   prometheus.Counter
	subscriptions *prometheus.GaugeVec
	lag           prometheus.Histogram
}

// What a subscriber does.
const (
	replaying = "replaying"
	following = "following"
)

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "promgrpc_server_query_" + name, Help: help})
	}
	m := &metrics{
		evaluations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_server_query_evaluations_total",
			Help: "Evaluations of the expressions of streams, by of what: a step, for all who follow it, or a replay of several steps.",
		}, []string{"of"}),
		shared: counter("shared_total", "Steps that a stream had from the evaluation of another one."),
		steps:  counter("steps_total", "Steps that were sent to clients, or left out since nothing had changed."),
		late:   counter("late_samples_total", "Samples that steps found and that had come too late for the step before."),
		subscriptions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "promgrpc_server_query_streams", Help: "Streams of queries that are open, by what they do: replaying steps that were due before, or following.",
		}, []string{"state"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "promgrpc_server_query_lag_seconds",
			Help:    "Time from when a step was due here until a stream that follows had sent it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	for _, of := range []string{"step", "replay"} {
		m.evaluations.WithLabelValues(of)
	}
	for _, state := range []string{replaying, following} {
		m.subscriptions.WithLabelValues(state)
	}
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.evaluations, m.shared, m.steps, m.late, m.subscriptions, m.lag}
}
