package link

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/register"
)

// Metrics of all links of a process.
type Metrics struct {
	connections *prometheus.GaugeVec
	frames      *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	rejected    *prometheus.CounterVec

	// Of frames, by kind, and of bytes: found once rather than for every frame.
	received, sent           [kinds]prometheus.Counter
	bytesReceived, bytesSent prometheus.Counter
}

// NewMetrics registers the metrics promgrpc_link_*. Where they are registered
// already, as with several parts in one process, those are shared. With a nil
// Registerer they are counted and not shown.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		connections: register.Shared(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "promgrpc_link_connections",
			Help: "Open links, by who dialled: in (the peer) or out.",
		}, []string{"direction"})),
		frames: register.Shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_link_frames_total",
			Help: "Frames received (in) and sent (out), by kind.",
		}, []string{"direction", "kind"})),
		bytes: register.Shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_link_bytes_total",
			Help: "Bytes of frames received (in) and sent (out), lengths included.",
		}, []string{"direction"})),
		rejected: register.Shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_link_rejected_total",
			Help: "Connections of peers that were closed for what they did, by reason.",
		}, []string{"reason"})),
	}
	for kind := 1; kind < kinds; kind++ {
		m.received[kind] = m.frames.WithLabelValues("in", kindNames[kind])
		m.sent[kind] = m.frames.WithLabelValues("out", kindNames[kind])
	}
	m.bytesReceived, m.bytesSent = m.bytes.WithLabelValues("in"), m.bytes.WithLabelValues("out")
	for _, reason := range []string{
		reasonConnections, reasonTimeout, reasonTLS, reasonJunk, reasonSize, reasonSlow, reasonVersion,
		reasonRole, reasonExpired, reasonRefused,
	} {
		m.rejected.WithLabelValues(reason)
	}
	return m
}
