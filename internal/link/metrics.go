package link

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of all links of a process.
type Metrics struct {
	connections *prometheus.GaugeVec
	frames      *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	rejected    *prometheus.CounterVec

	// Of frames, by kind, and of bytes: found once rather than for every frame.
	received, sent           [len(kindNames)]prometheus.Counter
	bytesReceived, bytesSent prometheus.Counter
}

// NewMetrics registers the metrics promgrpc_link_*. Where they are registered
// already, as with several parts in one process, those are shared. With a nil
// Registerer they are counted and not shown.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "promgrpc_link_connections",
			Help: "Open links, by who dialled: in (the peer) or out.",
		}, []string{"direction"}),
		frames: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_link_frames_total",
			Help: "Frames received (in) and sent (out), by kind.",
		}, []string{"direction", "kind"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_link_bytes_total",
			Help: "Bytes of frames received (in) and sent (out), lengths included.",
		}, []string{"direction"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_link_rejected_total",
			Help: "Connections of peers that were closed for what they did, by reason.",
		}, []string{"reason"}),
	}
	if reg != nil {
		m.connections = register(reg, m.connections)
		m.frames = register(reg, m.frames)
		m.bytes = register(reg, m.bytes)
		m.rejected = register(reg, m.rejected)
	}
	for kind := kindHello; kind < len(kindNames); kind++ {
		m.received[kind] = m.frames.WithLabelValues("in", kindNames[kind])
		m.sent[kind] = m.frames.WithLabelValues("out", kindNames[kind])
	}
	m.bytesReceived, m.bytesSent = m.bytes.WithLabelValues("in"), m.bytes.WithLabelValues("out")
	for _, reason := range []string{
		reasonConnections, reasonTimeout, reasonTLS, reasonJunk, reasonSize, reasonSlow, reasonVersion, reasonRefused,
	} {
		m.rejected.WithLabelValues(reason)
	}
	return m
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	if err != nil {
		panic(err) // Two metrics of one name: a mistake in the program.
	}
	return c
}
