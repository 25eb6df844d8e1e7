package pushed

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	steps         *prometheus.CounterVec
	pushed, whole prometheus.Counter
	bytes         prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_router_pushed_steps_total",
			Help: "Steps of expressions of which groups can evaluate parts, by whether they did, or the expression was evaluated here as a whole.",
		}, []string{"by"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_router_pushed_bytes_total",
			Help: "Bytes of what groups evaluated.",
		}),
	}
	m.pushed, m.whole = m.steps.WithLabelValues("groups"), m.steps.WithLabelValues("router")
	return m
}

// Collectors are for what is counted.
func (g *Groups) Collectors() []prometheus.Collector {
	return []prometheus.Collector{g.metrics.steps, g.metrics.bytes}
}
