package head

import (
	"cmp"
	"maps"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// Cluster names senders for which one is elected.
type Cluster struct{ Tenant, Name string }

// ClusterOf is the cluster of an election.
func ClusterOf(e *segment.Election) Cluster { return Cluster{e.Tenant, e.Cluster} }

// Elections returns what the log says of who is elected, sorted by tenant and cluster.
func (h *Head) Elections() []segment.Election {
	h.mu.RLock()
	all := slices.Collect(maps.Values(h.elections))
	h.mu.RUnlock()
	slices.SortFunc(all, func(a, b segment.Election) int { //nolint:gocritic // The signature is that of the library.
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Cluster, b.Cluster))
	})
	return all
}

// ElectionChanges is another number once Elections may return something else.
func (h *Head) ElectionChanges() uint64 { return h.electionChanges.Load() }

// ForgetElections has the next keyframe leave some clusters out.
func (h *Head) ForgetElections(clusters []Cluster) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range clusters {
		delete(h.elections, c)
	}
	h.electionChanges.Add(1)
}

// elect notes what a block or keyframe says of who is elected.
func elect(elections map[Cluster]segment.Election, said []segment.Election) {
	for i := range said {
		elections[ClusterOf(&said[i])] = said[i]
	}
}
