package feed

import (
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
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

// sink takes what is shipped of a log into its replica.
type sink struct {
	*replica.Replica
	feed *Feed
	who  []any // ships it, for log lines
}

// Gap implements [logship.Sink]. Followers are told by the reader of the log, at its
// place.
func (s sink) Gap(gap *seglog.GapError) error {
	s.feed.gaps.Inc()
	s.feed.log.Log(slog.LevelWarn, "blocks are missing for ever", append(slices.Clip(s.who), "after_sequence", gap.After, "next_sequence", gap.Next)...)
	return nil
}
