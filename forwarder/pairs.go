package forwarder

import (
	"log/slog"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/election"
	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/throttle"
)

// pairs decides about the series of HA pairs. It belongs to the appender, and outlives the
// states of the log: what it knows is in the log as soon as there is one. Nil: nobody is
// elected.
type pairs struct {
	table   *election.Table
	news    *news
	metrics *pairMetrics
	log     *throttle.Logger
	fates   []remotewrite.Fate
}

func newPairs(c *Config, m *metrics, logger *slog.Logger) *pairs {
	if !c.Enabled {
		return nil
	}
	return &pairs{
		table: election.New(election.Settings{Failover: c.Failover, Clusters: c.MaxClusters, Idle: c.SeriesIdle}),
		news:  newNews(), metrics: m.pairs, log: throttle.New(logger, time.Minute),
	}
}

// undecided is the verdict on a request that has to come again.
func undecided() *linkv1.Verdict {
	return &linkv1.Verdict{Code: linkv1.Code_CODE_UNDECIDED, Errors: []string{"which sender of its HA pair is taken is being decided"}}
}

// decide drops the series of a request whose senders are not elected, and refuses those
// that are one cluster too many. It returns false if the request has to come again, and
// then the request is as it was.
func (p *pairs) decide(now time.Time, tenant string, req *remotewrite.Request) bool {
	if p == nil {
		return true
	}
	p.fates = p.fates[:0]
	settled := true
	for i := range req.Senders {
		s := &req.Senders[i]
		fate := remotewrite.Fate{Err: s.Err}
		if !s.None() && s.Err == nil {
			var d election.Decision
			d, fate.Err = p.table.Request(now, election.Key{Tenant: tenant, Cluster: string(s.Cluster)}, string(s.Replica))
			settled = settled && d != election.Wait
			fate.Drop = d == election.Drop
		}
		p.fates = append(p.fates, fate)
	}
	p.changed()
	if !settled {
		p.metrics.waited.Inc()
		return false
	}
	req.Part(p.fates)
	p.metrics.dropped.Add(float64(req.Dropped.Samples + req.Dropped.Histograms + req.Dropped.Exemplars))
	return true
}

// mostDue is how many elections a block has at most.
const mostDue = 64

// due returns what the next block has to say of who is elected, if there is room for it.
func (p *pairs) due(store func(bytes int) error) []segment.Election {
	if p == nil {
		return nil
	}
	n := 0
	for most := min(p.table.Pending(), mostDue); n < most && store(segment.ElectionBound) == nil; n++ {
	}
	return p.table.Due(n)
}

// opened says which log is written from now on, and what that says already.
func (p *pairs) opened(now time.Time, s *state) {
	if p == nil {
		return
	}
	p.table.Opened(now, s.writer.Log().ID(), s.head.Elections())
	p.changed()
}

// learn takes note of what servers have said of other logs.
func (p *pairs) learn(now time.Time) {
	for _, e := range p.news.take() {
		p.table.Learn(now, e)
	}
	p.changed()
}

// forget has the head leave out of its next keyframe who was not heard of for long, and
// everybody if nobody is elected any more.
func (p *pairs) forget(now time.Time, h *head.Head) {
	var clusters []head.Cluster
	if p == nil {
		for _, e := range h.Elections() {
			clusters = append(clusters, head.Cluster{Tenant: e.Tenant, Name: e.Cluster})
		}
	} else {
		for _, k := range p.table.Forget(now) {
			clusters = append(clusters, head.Cluster{Tenant: k.Tenant, Name: k.Cluster})
			p.metrics.forget(k)
		}
	}
	h.ForgetElections(clusters)
}

// changed logs and counts what has changed.
func (p *pairs) changed() {
	for _, c := range p.table.Changes() {
		p.metrics.elected(&c.After)
		who := []any{"tenant", c.After.Tenant, "cluster", c.After.Cluster, "replica", c.After.Replica, "term", c.After.Term}
		switch {
		case c.Conflict:
			p.metrics.conflicts.Inc()
			p.log.Log(slog.LevelWarn, "another forwarder elected another sender of an HA pair at the same time, and that holds", append(who, "before", c.Before.Replica)...)
		case c.Before.Term == 0 || c.Before.Replica == c.After.Replica:
			p.log.Log(slog.LevelInfo, "a sender of an HA pair is elected", who...)
			continue
		case c.Learned:
			p.log.Log(slog.LevelWarn, "another forwarder elected another sender of an HA pair", append(who, "before", c.Before.Replica)...)
		default:
			p.log.Log(slog.LevelWarn, "the elected sender of an HA pair was silent, so another is elected", append(who, "before", c.Before.Replica)...)
		}
		p.metrics.changes.Inc()
	}
}
