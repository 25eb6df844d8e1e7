package exchange_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/exchange"
)

var began = time.Unix(1_000_000, 0)

func logID(n int) (id segment.LogID) {
	id[0], id[15] = 1, byte(n)
	return id
}

// node is a server of which the disk and the network are told.
type node struct {
	*exchange.Exchange
	address string
	logs    map[segment.LogID]exchange.Log
	room    int
	retired map[segment.LogID]bool
	down    bool
	lies    map[segment.LogID]uint64 // what it claims to have
	others  map[segment.LogID]bool   // diverged
	ended   map[segment.LogID]bool
	asked   []time.Time // when it asked
	bucket  func(segment.LogID) time.Time
}

// world is servers that know one another.
type world struct {
	t     testing.TB
	now   time.Time
	nodes []*node
}

func newWorld(t testing.TB, n int) *world {
	w := &world{t: t, now: began}
	var addresses []string
	for i := range n {
		addresses = append(addresses, fmt.Sprintf("server-%d", i))
		w.nodes = append(w.nodes, &node{
			Exchange: exchange.New(), address: addresses[i], room: 10,
			logs: map[segment.LogID]exchange.Log{}, lies: map[segment.LogID]uint64{}, others: map[segment.LogID]bool{}, retired: map[segment.LogID]bool{}, ended: map[segment.LogID]bool{},
		})
	}
	for _, n := range w.nodes {
		n.Peers(addresses, w.now)
	}
	return w
}

func (w *world) has(node, log int, last uint64, fed bool) {
	id := logID(log)
	w.nodes[node].logs[id] = exchange.Log{ID: id, Last: last, Fed: fed}
}

func (w *world) of(address string) *node {
	return w.nodes[slices.IndexFunc(w.nodes, func(n *node) bool { return n.address == address })]
}

func (n *node) tell(now time.Time) {
	h := exchange.Here{Room: n.room, Bucket: n.bucket, Retired: func(id segment.LogID) bool { return n.retired[id] }}
	for _, l := range n.logs {
		h.Logs = append(h.Logs, l)
	}
	n.Here(h, now)
}

// step does what a server has planned.
func (w *world) step(n *node) {
	n.tell(w.now)
	plan := n.Plan(w.now)
	for _, address := range plan.Ask {
		n.asked = append(n.asked, w.now)
		switch peer := w.of(address); {
		case peer == n:
			n.Self(address, w.now)
		case peer.down:
			n.NotTold(address, w.now)
		default:
			n.Told(address, peer.says(), w.now)
		}
	}
	require.LessOrEqual(w.t, len(plan.Fetch), 2)
	for _, f := range plan.Fetch {
		require.False(w.t, n.logs[f.Log].Fed, "it is fed")
		require.NotEqual(w.t, n.address, f.Peer)
		outcome := w.fetch(n, w.of(f.Peer), f.Log)
		n.tell(w.now)
		n.Fetched(f, outcome, w.now)
	}
	n.ended = map[segment.LogID]bool{}
	for _, id := range plan.Ended {
		n.ended[id] = true
	}
}

func (n *node) says() (logs []exchange.Log) {
	for _, l := range n.logs {
		l.Last = max(l.Last, n.lies[l.ID])
		logs = append(logs, l)
	}
	return logs
}

func (w *world) fetch(n, peer *node, id segment.LogID) exchange.Outcome {
	theirs, ok := peer.logs[id]
	switch {
	case peer.down || !ok:
		return exchange.Failed
	case peer.others[id]:
		return exchange.Diverged
	}
	n.logs[id] = exchange.Log{ID: id, Last: max(n.logs[id].Last, theirs.Last)}
	return exchange.Sent
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(500 * time.Millisecond) {
		for _, n := range w.nodes {
			if !n.down {
				w.step(n)
			}
		}
	}
}

func (w *world) requireLast(log int, last uint64) {
	w.t.Helper()
	for _, n := range w.nodes {
		if !n.down {
			require.Equal(w.t, last, n.logs[logID(log)].Last, n.address)
		}
	}
}

func (w *world) requireEnded(log int, ended bool) {
	w.t.Helper()
	for _, n := range w.nodes {
		if !n.down {
			require.Equal(w.t, ended, n.ended[logID(log)], n.address)
		}
	}
}

// What one server has of a log that nobody feeds comes to all within seconds, and a while
// later it has ended, at each.
func TestOneEnd(t *testing.T) {
	w := newWorld(t, 3)
	w.has(0, 1, 10, false)
	w.has(1, 1, 12, false)
	w.has(2, 2, 7, false)
	w.run(6 * time.Second)
	w.requireLast(1, 12)
	w.requireLast(2, 7)
	w.requireEnded(1, false)
	w.run(exchange.EndTime + 5*time.Second)
	w.requireEnded(1, true)
	w.requireEnded(2, true)
}

// While a forwarder feeds a log it is not asked for, and it has not ended, though the
// forwarder feeds another server alone. When it comes back the log goes on.
func TestForwarderIsThere(t *testing.T) {
	w := newWorld(t, 3)
	w.has(0, 1, 10, true)
	w.has(1, 1, 8, true)
	w.has(2, 1, 9, false)
	for last := uint64(10); last < 200; last++ {
		w.has(0, 1, last, true)
		w.run(time.Second)
		require.Equal(t, uint64(8), w.nodes[1].logs[logID(1)].Last)
		require.LessOrEqual(t, last-w.nodes[2].logs[logID(1)].Last, uint64(4), "it is no more than seconds behind")
	}
	w.requireEnded(1, false)
	w.has(0, 1, 200, false)
	w.has(1, 1, 190, false)
	w.run(time.Minute)
	w.requireLast(1, 200)
	w.requireEnded(1, true)
	w.has(1, 1, 200, true)
	w.run(mostPause)
	w.requireEnded(1, false)
}

// mostPause is how long news may take to come to a server that heard none for long.
const mostPause = 35 * time.Second

// A connection that a forwarder lost for a moment causes nothing.
func TestShortAbsence(t *testing.T) {
	w := newWorld(t, 2)
	w.has(0, 1, 10, true)
	w.has(1, 1, 9, true)
	w.run(time.Minute)
	w.has(1, 1, 9, false)
	w.run(exchange.AwayTime - 500*time.Millisecond)
	w.has(1, 1, 9, true)
	w.run(time.Minute)
	require.Equal(t, uint64(9), w.nodes[1].logs[logID(1)].Last)
}

// Questions become rare while nothing changes, and frequent when something may be missing.
func TestPauses(t *testing.T) {
	w := newWorld(t, 2)
	w.has(0, 1, 10, true)
	w.has(1, 1, 10, true)
	w.run(10 * time.Minute)
	n := w.nodes[0]
	n.asked = nil
	w.run(10 * time.Minute)
	require.LessOrEqual(t, len(n.asked), 2*10*60/30+2) // itself, too
	n.asked = nil
	w.has(0, 1, 10, false)
	w.run(10 * time.Second)
	require.GreaterOrEqual(t, len(n.asked), 4)
	require.LessOrEqual(t, len(n.asked), 12)
}

// A peer that is down may have more: a log does not end without it, before it has been
// given up.
func TestPeerIsDown(t *testing.T) {
	w := newWorld(t, 3)
	for i := range w.nodes {
		w.has(i, 1, 10, false)
	}
	w.has(2, 1, 11, false)
	w.nodes[2].down = true
	w.run(exchange.GiveUpTime - time.Second)
	w.requireEnded(1, false)
	w.run(exchange.EndTime + time.Minute)
	w.requireEnded(1, true)
	w.requireLast(1, 10)
	w.nodes[2].down = false
	w.run(mostPause)
	w.requireLast(1, 11)
	w.run(time.Minute)
	w.requireEnded(1, true)
}

// A peer that claims what it does not have, or has other blocks, keeps no log from ending,
// and is asked ever more seldom.
func TestClaims(t *testing.T) {
	for name, of := range map[string]func(n *node){
		"more than it has": func(n *node) { n.lies[logID(1)] = 1 << 60 },
		"other blocks":     func(n *node) { n.lies[logID(1)], n.others[logID(1)] = 20, true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			for i := range w.nodes {
				w.has(i, 1, 10, false)
			}
			of(w.nodes[2])
			w.run(3 * time.Minute)
			require.True(t, w.nodes[0].ended[logID(1)])
			require.True(t, w.nodes[1].ended[logID(1)])
			w.has(1, 1, 13, false)
			w.run(2 * time.Minute)
			require.Equal(t, uint64(13), w.nodes[0].logs[logID(1)].Last, "others are asked all the same")
		})
	}
}

// Logs that are not here are fetched while there is room, and not if they were retired.
func TestRoom(t *testing.T) {
	w := newWorld(t, 2)
	for i := range 10 {
		w.has(0, i, 5, false)
	}
	n := w.nodes[1]
	n.room, n.retired[logID(0)] = 0, true
	w.run(time.Minute)
	require.Empty(t, n.logs)
	for len(n.logs) < 9 {
		n.room = 1
		before := len(n.logs)
		for range 100 {
			w.step(n)
			if n.room = 0; len(n.logs) > before {
				break
			}
			n.room = 1
			w.now = w.now.Add(time.Second)
		}
		require.Len(t, n.logs, before+1)
	}
	n.room = 10
	w.run(time.Minute)
	require.NotContains(t, n.logs, logID(0))
}

// While the bucket was not asked since nobody feeds a log, it may have more of it.
func TestBucketIsAsked(t *testing.T) {
	w := newWorld(t, 2)
	for i, n := range w.nodes {
		w.has(i, 1, 10, false)
		n.bucket = func(segment.LogID) time.Time { return began.Add(-time.Second) }
	}
	w.run(5 * time.Minute)
	w.requireEnded(1, false)
	w.nodes[0].bucket = func(segment.LogID) time.Time { return began.Add(time.Second) }
	w.run(time.Second)
	require.True(t, w.nodes[0].ended[logID(1)])
	require.False(t, w.nodes[1].ended[logID(1)])
}

// A server has begun once it has asked everybody, and has what others have.
func TestBegun(t *testing.T) {
	w := newWorld(t, 3)
	w.nodes[2].down = true
	w.has(1, 1, 10, false)
	n := w.nodes[0]
	require.False(t, n.Begun(w.now))
	for !n.Begun(w.now) {
		require.Less(t, w.now.Sub(began), time.Minute)
		w.run(500 * time.Millisecond)
	}
	require.Equal(t, uint64(10), n.logs[logID(1)].Last)

	x := exchange.New()
	require.False(t, x.Begun(began), "it is not known who there is")
	x.Peers(nil, began)
	require.True(t, x.Begun(began))
}

// A server that knows of no other, not even itself, cannot know whether a log has ended.
func TestNobodyIsKnown(t *testing.T) {
	w := newWorld(t, 0)
	n := &node{Exchange: exchange.New(), logs: map[segment.LogID]exchange.Log{}}
	w.nodes = []*node{n}
	w.has(0, 1, 3, false)
	n.Peers(nil, w.now)
	w.run(time.Hour)
	require.False(t, n.ended[logID(1)])
}

// Whatever happens to servers, forwarders and connections: once they are there again all
// have the same of each log, which has ended, at all of them or at none.
func TestAtRandom(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t, 2+random.IntN(4))
		longest := map[int]uint64{}
		for range 30 {
			node, log := random.IntN(len(w.nodes)), random.IntN(4)
			switch random.IntN(4) {
			case 0:
				w.nodes[node].down = !w.nodes[node].down
			case 1:
				if had, ok := w.nodes[node].logs[logID(log)]; ok {
					w.has(node, log, had.Last, false)
				}
			default:
				last := max(w.nodes[node].logs[logID(log)].Last, 1, longest[log]+uint64(random.IntN(3)))
				longest[log] = max(longest[log], last)
				w.has(node, log, last, random.IntN(2) == 0)
			}
			w.run(time.Duration(random.IntN(40)) * time.Second)
		}
		for i, n := range w.nodes {
			n.down = false
			for id, l := range n.logs {
				w.has(i, int(id[15]), l.Last, false)
			}
		}
		w.run(10 * time.Minute)
		for log, last := range longest {
			w.requireLast(log, last)
			w.requireEnded(log, true)
		}
	}
}
