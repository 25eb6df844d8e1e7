package forwarder

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/election"
	"github.com/promgrpc/exporter/internal/segment"
)

// news are what servers have said of elections in other logs, until the appender takes
// them. They are merged, so that nobody waits for it.
type news struct {
	mu    sync.Mutex
	says  map[election.Key]segment.Election
	ready chan struct{} // has room for one
}

// mostNews is of how many clusters there are news at most: more than the appender would
// take note of.
const mostNews = 10_000

func newNews() *news {
	return &news{says: map[election.Key]segment.Election{}, ready: make(chan struct{}, 1)}
}

// hear takes what a server says.
func (n *news) hear(said *linkv1.Election) error {
	e := segment.Election{
		Tenant: said.GetTenant(), Cluster: said.GetCluster(), Replica: said.GetReplica(),
		Term: said.GetTerm(), ClaimTime: said.GetClaimTime(), HeardTime: said.GetHeardTime(),
	}
	if copy(e.LogID[:], said.GetLogId()); len(said.GetLogId()) != len(e.LogID) {
		return fmt.Errorf("an election of a log whose id has %d bytes", len(said.GetLogId()))
	}
	if err := e.Check(); err != nil {
		return err
	}
	if n == nil || !e.Believed(time.Now()) {
		return nil // Nobody is elected here, or not so.
	}
	n.mu.Lock()
	k := election.Key{Tenant: e.Tenant, Cluster: e.Cluster}
	before, ok := n.says[k]
	if ok {
		e = e.Merge(before)
	}
	if ok || len(n.says) < mostNews {
		n.says[k] = e
	}
	n.mu.Unlock()
	select {
	case n.ready <- struct{}{}:
	default:
	}
	return nil
}

// take returns the news, in an order that does not change.
func (n *news) take() []segment.Election {
	n.mu.Lock()
	all := slices.Collect(maps.Values(n.says))
	clear(n.says)
	n.mu.Unlock()
	slices.SortFunc(all, func(a, b segment.Election) int { //nolint:gocritic // The signature is that of the library.
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Cluster, b.Cluster))
	})
	return all
}

// channel says when there are news, never if nobody is elected.
func (n *news) channel() <-chan struct{} {
	if n == nil {
		return nil
	}
	return n.ready
}
