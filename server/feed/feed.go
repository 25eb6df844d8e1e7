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
	log      *throttle.Logger // for what forwarders and upstreams can cause
	sentBack *limit.Budget    // bytes of what is sent back to forwarders
	gaps     prometheus.Counter
}

// New returns what feeds replicas. What it sends back to forwarders has a budget.
func New(rs *replica.Set, log *throttle.Logger, sentBack *limit.Budget) *Feed {
	return &Feed{
		replicas: rs, log: log, sentBack: sentBack,
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_server_gaps_total",
			Help: "Gaps in what forwarders sent: blocks that this replica will never have.",
		}),
	}
}

// Collector is for what is counted.
func (f *Feed) Collector() prometheus.Collector { return f.gaps }

// sink puts what is shipped of a log into its replica.
type sink struct {
	*replica.Replica
	feed *Feed
	who  []any // the shipper, for log lines
}

// Gap implements [logship.Sink]. Followers are told when they come to it in the log.
func (s sink) Gap(gap *seglog.GapError) error {
	s.feed.gaps.Inc()
	s.feed.log.Log(slog.LevelWarn, "blocks are missing for good", append(slices.Clip(s.who), "after_sequence", gap.After, "next_sequence", gap.Next)...)
	return nil
}
