package merge

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what is counted of the streams of a router.
type Metrics struct{ broken *prometheus.CounterVec }

// NewMetrics returns those of a process.
func NewMetrics() *Metrics {
	return &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promgrpc_router_streams_broken_total",
		Help: "Streams of a group's servers that broke off, or could not be opened, and are opened again.",
	}, []string{"group"})}
}

// Collectors are for the counts.
func (m *Metrics) Collectors() []prometheus.Collector { return []prometheus.Collector{m.broken} }

// broke counts a stream of a group that broke off, and says so.
func (st *stream) broke(g Group, err error) {
	st.Metrics.broken.WithLabelValues(g.Name()).Inc()
	st.Calls.Log.Log(slog.LevelWarn, "a group's stream broke off", "group", g.Name(), "err", err)
}
