package forwarder

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/promgrpc/exporter/forwarder/election"
	"github.com/promgrpc/exporter/internal/segment"
)

// pairMetrics say who of HA pairs is elected.
type pairMetrics struct {
	current   *prometheus.GaugeVec
	dropped   prometheus.Counter
	changes   prometheus.Counter
	conflicts prometheus.Counter
	waited    prometheus.Counter
	shown     map[election.Key]string // the replica that is shown
}

// mostShown bounds the clusters of which it is shown who is elected: senders name them.
const mostShown = 1000

func newPairMetrics(reg prometheus.Registerer) *pairMetrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "promgrpc_forwarder_ha_" + name, Help: help})
	}
	return &pairMetrics{
		current: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "promgrpc_forwarder_ha_elected",
			Help: "1 for the replica that is elected of an HA pair, by tenant and cluster, of the first 1000 clusters.",
		}, []string{"tenant", "cluster", "replica"}),
		dropped:   counter("dropped_total", "Samples, histograms and exemplars dropped because another sender of their HA pair is elected."),
		changes:   counter("changes_total", "Times that another replica of an HA pair was elected than before."),
		conflicts: counter("conflicts_total", "Times that two forwarders elected different replicas of an HA pair at once, and that of the other held."),
		waited:    counter("waited_batches_total", "Batches that had to come again, since the elected of an HA pair was not settled."),
		shown:     map[election.Key]string{},
	}
}

// elected shows who is elected.
func (m *pairMetrics) elected(e *segment.Election) {
	k := election.Key{Tenant: e.Tenant, Cluster: e.Cluster}
	if _, ok := m.shown[k]; !ok && len(m.shown) >= mostShown {
		return
	}
	m.forget(k)
	m.shown[k] = e.Replica
	m.current.WithLabelValues(k.Tenant, k.Cluster, e.Replica).Set(1)
}

// forget shows nobody any more.
func (m *pairMetrics) forget(k election.Key) {
	if replica, ok := m.shown[k]; ok {
		m.current.DeleteLabelValues(k.Tenant, k.Cluster, replica)
		delete(m.shown, k)
	}
}
