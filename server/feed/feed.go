package feed

import (
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server/replica"
)

// Feed brings blocks into the replicas of a server.
type Feed struct {
	replicas *replica.Set
	log      *throttle.Logger // for what those who feed can cause
	given    *limit.Budget    // bytes of what is given back
	gaps     prometheus.Counter
}

// New returns what feeds the replicas. What it gives back to a forwarder is
// held of a budget.
func New(rs *replica.Set, log *throttle.Logger, given *limit.Budget) *Feed {
	return &Feed{
		replicas: rs, log: log, given: given,
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_server_gaps_total",
			Help: "Gaps in what forwarders sent: blocks that this replica will never have.",
		}),
	}
}

// Collector of what is counted.
func (f *Feed) Collector() prometheus.Collector { return f.gaps }

// gap notes that blocks will never come. Followers are told by the reader of the
// log, at its place.
func (f *Feed) gap(who []any, after, next uint64) {
	f.gaps.Inc()
	f.log.Log(slog.LevelWarn, "blocks are missing for ever", append(slices.Clip(who), "after_sequence", after, "next_sequence", next)...)
}
