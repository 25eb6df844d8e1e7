package feed

import (
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server/replica"
)

// Feed brings blocks into the replicas of a server.
type Feed struct {
	replicas *replica.Set
	log      *throttle.Logger // for what forwarders and upstreams can cause
	sentBack *limit.Budget    // bytes of what is sent back to forwarders
	newLogs  *limit.Budget    // logs that are beginning
	trust    link.Trust       // towards forwarders
	gaps     prometheus.Counter
	refused  *prometheus.CounterVec
	telling  sync.WaitGroup // forwarders of elections
}

// FlagNewLogs limits how many logs forwarders begin at a time.
const FlagNewLogs = "--limit.new-logs"

// New returns what feeds replicas. What it sends back to forwarders has a budget, and so
// have the logs that they begin.
func New(rs *replica.Set, log *throttle.Logger, sentBack, newLogs *limit.Budget, trust link.Trust) *Feed {
	f := &Feed{
		replicas: rs, log: log, sentBack: sentBack, newLogs: newLogs, trust: trust,
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_server_gaps_total",
			Help: "Gaps in what forwarders sent: blocks that this replica will never have.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_server_refused_logs_total",
			Help: "Connections whose log was refused: logs, there are too many; owner, it belongs to another forwarder; new-logs, too many are beginning.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{replica.ReasonFull, replica.ReasonOwner, replica.ReasonNew} {
		f.refused.WithLabelValues(reason)
	}
	return f
}

// Collectors are for what is counted.
func (f *Feed) Collectors() []prometheus.Collector { return []prometheus.Collector{f.gaps, f.refused} }

// counted counts a log that was refused.
func (f *Feed) counted(err error) error {
	var refused *replica.RefusedError
	if errors.As(err, &refused) {
		f.refused.WithLabelValues(refused.Reason).Inc()
	}
	return err
}

// sink puts what is shipped of a log into its replica.
type sink struct {
	*replica.Feeding
	feed *Feed
	who  []any // the shipper, for log lines
}

// Gap implements [logship.Sink]. Followers are told when they come to it in the log.
func (s sink) Gap(gap *seglog.GapError) error {
	s.feed.gaps.Inc()
	s.feed.log.Log(slog.LevelWarn, "blocks are missing for good", append(slices.Clip(s.who), "after_sequence", gap.After, "next_sequence", gap.Next)...)
	return nil
}
