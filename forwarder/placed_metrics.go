package forwarder

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/promgrpc/exporter/forwarder/grouping"
)

// placedMetrics say which placement the log has, and who does not fit it.
type placedMetrics struct {
	version *prometheus.GaugeVec   // by group
	refused *prometheus.CounterVec // by reason
}

func newPlacedMetrics(reg prometheus.Registerer) *placedMetrics {
	f := promauto.With(reg)
	m := &placedMetrics{
		version: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "promgrpc_forwarder_placement_version",
			Help: "Version of the groups file that the log has, by the log's group; none where there are no groups.",
		}, []string{"group"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_forwarder_refused_placements_total",
			Help: "Hellos of receivers that do not fit the log's group and placement: they have none, take the log to be of another group, have an older groups file, another one of the same version, or one that changes what counts already.",
		}, []string{"reason"}),
	}
	for _, r := range grouping.Reasons {
		m.refused.WithLabelValues(string(r))
	}
	return m
}

// show shows the group and the version of the log, if it has any.
func (m *placedMetrics) show(group string, version uint64) {
	if version > 0 {
		m.version.WithLabelValues(group).Set(float64(version))
	}
}
