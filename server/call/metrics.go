package call

import "github.com/prometheus/client_golang/prometheus"

// metrics are counted of streams of all kinds.
type metrics struct {
	begun, ended *prometheus.CounterVec
	bytesSent    prometheus.Counter
}

func newMetrics() *metrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "promgrpc_server_" + name, Help: help}, []string{label})
	}
	return &metrics{
		begun:     vec("streams_begun_total", "Streams started, by where: latest, since, or cursor for those that resumed; logs, store and health for other kinds.", "start"),
		ended:     vec("streams_ended_total", "Streams ended, by why.", "reason"),
		bytesSent: prometheus.NewCounter(prometheus.CounterOpts{Name: "promgrpc_server_sent_bytes_total", Help: "Bytes of responses sent to clients, before compression."}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.begun, m.ended, m.bytesSent}
}
