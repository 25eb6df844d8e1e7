package simulation

import (
	"time"

	"github.com/promgrpc/exporter/forwarder/election"
	"github.com/promgrpc/exporter/forwarder/quorum"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/receiver/assign"
	"github.com/promgrpc/exporter/server/archive/plan"
	"github.com/promgrpc/exporter/server/exchange"
	"github.com/promgrpc/exporter/server/retirement"
)

// decisions are the real ones, in whose place a test may put wrong ones.
type decisions struct {
	quorum   func(servers int) acknowledging
	choose   func(s assign.Sender, all []assign.Forwarder, now time.Time) int
	election func() electing
	exchange func() exchanging
	plan     func(now time.Time, interval, jitter time.Duration) planning
	name     func(o object) string
	fill     func(have *plan.Segment, stored []plan.Stored) []plan.Take
	retire   func(logs []retirement.Log, b retirement.Bounds, now time.Time) []retirement.Retired
	// overwrites what may be there when no answer came.
	overwrites bool
}

// acknowledging is what [quorum.Quorum] does.
type acknowledging interface {
	Joined(server string, log segment.LogID, durable uint64) confirming
	Durable(log segment.LogID) uint64
}

// confirming is what [quorum.Link] does.
type confirming interface {
	Confirmed(durable uint64)
	Left()
}

// counted is the real one.
type counted struct{ *quorum.Quorum }

// Joined implements acknowledging.
func (c counted) Joined(server string, log segment.LogID, durable uint64) confirming {
	return c.Quorum.Joined(server, log, durable)
}

// electing is what [election.Table] does.
type electing interface {
	Request(now time.Time, k election.Key, replica string) (election.Decision, error)
	Learn(now time.Time, e segment.Election)
	Opened(now time.Time, log segment.LogID, has []segment.Election)
	Due(most int) []segment.Election
	Claimed() bool
}

// exchanging is what [exchange.Exchange] does.
type exchanging interface {
	Peers(addresses []string, now time.Time)
	Here(h exchange.Here, now time.Time)
	Self(address string, now time.Time)
	Told(address string, logs []exchange.Log, now time.Time)
	NotTold(address string, now time.Time)
	Fetched(f exchange.Fetch, o exchange.Outcome, now time.Time)
	Plan(now time.Time) exchange.Plan
}

// planning is what [plan.Log] does.
type planning interface {
	Listed(name string, sealed int64, pieces []layout.Piece)
	Next(now time.Time, local []plan.Segment) plan.Step
	Found(now time.Time, s plan.Step, size int64)
	Missing(now time.Time, s plan.Step)
	Created(now time.Time, s plan.Step)
	Exists(now time.Time, s plan.Step)
	Deleted(s plan.Step)
	Failed(s plan.Step)
	Archived(local []plan.Segment, covered func(s plan.Segment, end int64) uint64) uint64
	Diverged() string
}

// failover of a pair.
const failover = 30 * time.Second

// asTheyAre returns the real ones.
func asTheyAre() *decisions {
	return &decisions{
		quorum: func(servers int) acknowledging { return counted{quorum.New(servers)} },
		choose: assign.Choose,
		election: func() electing {
			return election.New(election.Settings{Failover: failover, Clusters: 10, Idle: time.Hour})
		},
		exchange: func() exchanging { return exchange.New() },
		plan: func(now time.Time, interval, jitter time.Duration) planning {
			return plan.NewLog(now, interval, jitter)
		},
		name: func(o object) string { return o.Name() }, fill: plan.Fill, retire: retirement.Of,
	}
}
