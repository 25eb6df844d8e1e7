package server

import (
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server/replica"
)

// feed brings blocks into the replicas of a server.
type feed struct {
	replicas *replica.Set
	log      *throttle.Logger // for what those who feed can cause
	given    *limit.Budget    // bytes of what is given back
	gaps     prometheus.Counter
}

// newFeed returns what feeds the replicas. What it gives back to a forwarder is
// held of a budget.
func newFeed(rs *replica.Set, log *throttle.Logger, given *limit.Budget) *feed {
	return &feed{
		replicas: rs, log: log, given: given,
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_server_gaps_total",
			Help: "Gaps in what forwarders sent: blocks that this replica will never have.",
		}),
	}
}

// collector of what is counted.
func (f *feed) collector() prometheus.Collector { return f.gaps }

// gap notes that blocks will never come. Followers are told by the reader of the
// log, at its place.
func (f *feed) gap(who []any, after, next uint64) {
	f.gaps.Inc()
	f.log.Log(slog.LevelWarn, "blocks are missing for ever", append(slices.Clip(who), "after_sequence", after, "next_sequence", next)...)
}
