package load

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"sync"
)

// Fleet is a load of unlike targets, as one Prometheus scrapes them: sidecars of a service
// mesh, JVMs, Kafka brokers, switches by SNMP, and kube-state-metrics.
//
// A request is what one of Prometheus' shards sends. A series belongs to a shard by its
// number, so a request has every fourth series of many targets. Their order is that of
// arrival, which differs between rounds: a scrape takes longer or shorter than another,
// and an exporter that keeps its objects in a map lists them in any order.
var Fleet = &Profile{
	Name:  "fleet",
	Few:   `{topic="payments.authorised.v1",instance="10.64.0.3:9404"}`,
	Churn: 0.02 / 4, // of four rounds in a minute
	Part:  fleet,
}

const (
	shards = 4
	// slowest is how long a scrape may take, as a share of the interval.
	slowest = 0.1
	// restarts is in how many rounds a target starts again once, with its counters at zero.
	restarts = 200
)

// cycle is the kinds of targets, in turn.
var cycle = []func(x *exposition, number int){sidecar, jvm, sidecar, broker, networkSwitch, kubeStateMetrics}

// sizes are how many series the targets of a cycle have.
var sizes = sync.OnceValue(func() (sizes []int) {
	for number := range cycle {
		sizes = append(sizes, expose(number, 0).size)
	}
	return sizes
})

// member is a target of the fleet.
type member struct {
	*exposition
	number     int
	generation int
	wanted     []bool  // by the place of a series in the exposition
	arrival    float64 // of the round's scrape, in intervals
}

// fleet returns the series at the places from first up to, but not including, end.
func fleet(p Plan, first, end int) (func(round int) iter.Seq[Series], error) {
	var members []*member
	byNumber := map[int]*member{}
	for place := first; place < end; place++ {
		number, i := owner(sharded(place, p.Series))
		m := byNumber[number]
		if m == nil {
			m = &member{exposition: expose(number, 0), number: number}
			m.wanted = make([]bool, m.size)
			byNumber[number], members = m, append(members, m)
		}
		m.wanted[i] = true
	}
	return func(round int) iter.Seq[Series] {
		for _, m := range members {
			m.scrape(round, p.Churn)
		}
		slices.SortFunc(members, func(a, b *member) int {
			return cmp.Or(cmp.Compare(a.arrival, b.arrival), cmp.Compare(a.number, b.number))
		})
		return func(yield func(Series) bool) {
			for _, m := range members {
				for i, s := range m.all() {
					if m.wanted[i] && !yield(s) {
						return
					}
				}
			}
		}
	}, nil
}

// sharded returns the number of the series at a place of the load, which has the first
// shard's series, then the second's, and so on.
func sharded(place, series int) int {
	for shard := 0; ; shard++ {
		size := (series - shard + shards - 1) / shards
		if place < size {
			return place*shards + shard
		}
		place -= size
	}
}

// owner returns the target that has the series of a number, and the place of the series
// in the exposition.
func owner(series int) (number, i int) {
	all := 0
	for _, size := range sizes() {
		all += size
	}
	number, i = series/all*len(cycle), series%all
	for _, size := range sizes() {
		if i < size {
			break
		}
		number, i = number+1, i-size
	}
	return number, i
}

// scrape moves a target to a round.
func (m *member) scrape(round int, churn float64) {
	phase := source(m.number)
	if g := int(math.Floor(float64(round)*churn + phase.float())); g != m.generation {
		m.generation, m.exposition = g, expose(m.number, g)
	}
	random := source(uint64(m.number)<<32 ^ uint64(round)<<8 ^ 0x2545f491)
	m.arrival = phase.float() + slowest*random.float()
	if random.next()%restarts == 0 {
		m.restart()
	}
	m.move(&random)
}
