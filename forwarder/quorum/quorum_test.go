package quorum

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

var present, ended = segment.LogID{1}, segment.LogID{2}

func TestDurable(t *testing.T) {
	type link struct {
		server    string
		log       segment.LogID
		confirmed []uint64 // the first by the welcome
		left      bool
	}
	for _, test := range []struct {
		name    string
		servers int
		links   []link
		want    uint64
		there   int
	}{
		{"none have to", 0, nil, math.MaxUint64, 0},
		{"none are there", 1, nil, 0, 0},
		{"one that has nothing", 1, []link{{"a", present, []uint64{0}, false}}, 0, 1},
		{"by the welcome", 1, []link{{"a", present, []uint64{7}, false}}, 7, 1},
		{"confirmed later", 1, []link{{"a", present, []uint64{7, 9}, false}}, 9, 1},
		{"an old confirmation", 1, []link{{"a", present, []uint64{7, 9, 8}, false}}, 9, 1},
		{"left", 1, []link{{"a", present, []uint64{7}, true}}, 0, 0},
		{"another log", 1, []link{{"a", ended, []uint64{7}, false}}, 0, 0},
		{"the one that has more", 1, []link{{"a", present, []uint64{7}, false}, {"b", present, []uint64{9}, false}}, 9, 2},
		{"two have to", 2, []link{{"a", present, []uint64{7}, false}, {"b", present, []uint64{9}, false}}, 7, 2},
		{"two of three", 2, []link{{"a", present, []uint64{7}, false}, {"b", present, []uint64{9}, false}, {"c", present, []uint64{8}, false}}, 8, 3},
		{"one is gone", 2, []link{{"a", present, []uint64{7}, false}, {"b", present, []uint64{9}, true}}, 0, 1},
		{"one server twice", 2, []link{{"a", present, []uint64{7}, false}, {"a", present, []uint64{9}, false}}, 0, 1},
		{"the least of a server", 1, []link{{"a", present, []uint64{9}, false}, {"a", present, []uint64{7}, false}}, 7, 1},
		{"a server that came again", 1, []link{{"a", present, []uint64{9}, true}, {"a", present, []uint64{7}, false}}, 7, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := New(test.servers)
			for _, l := range test.links {
				joined := q.Joined(l.server, l.log, l.confirmed[0])
				for _, durable := range l.confirmed[1:] {
					joined.Confirmed(durable)
				}
				if l.left {
					joined.Left()
				}
			}
			require.Equal(t, test.want, q.Durable(present))
			require.Equal(t, test.there, q.Servers(present))
		})
	}
}

// A link that was lost is lost for good, and nothing is kept of a log without links.
func TestLeft(t *testing.T) {
	q := New(1)
	a, b := q.Joined("a", present, 5), q.Joined("b", present, 3)
	a.Left()
	a.Left()
	a.Confirmed(9)
	require.Equal(t, uint64(3), q.Durable(present))
	b.Left()
	require.Zero(t, q.Durable(present))
	require.Empty(t, q.logs)
}

// naive is a quorum that tries every block.
type naive struct {
	servers int
	links   map[*Link]bool
}

func (n *naive) durable(log segment.LogID, most uint64) uint64 {
	for block := most; block > 0; block-- {
		has := map[string]bool{}
		for l := range n.links {
			if l.log == log {
				before, there := has[l.server]
				has[l.server] = l.durable >= block && (before || !there)
			}
		}
		count := 0
		for _, all := range has {
			if all {
				count++
			}
		}
		if count >= n.servers {
			return block
		}
	}
	return 0
}

// Whatever happens, in whatever order, it is as trying every block says. While links
// stay and nobody joins, it does not go back.
func TestRandomFacts(t *testing.T) {
	const blocks = 20
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		servers := 1 + r.IntN(3)
		q, n := New(servers), naive{servers, map[*Link]bool{}}
		var before uint64
		for range 100 {
			goesBack := false
			switch op := r.IntN(10); {
			case op < 2:
				log := present
				if r.IntN(4) == 0 {
					log = ended
				}
				n.links[q.Joined(fmt.Sprint(r.IntN(4)), log, r.Uint64N(blocks))] = true
				goesBack = true
			case op < 4:
				for l := range n.links {
					l.Left()
					delete(n.links, l)
					break
				}
				goesBack = true
			default:
				for l := range n.links {
					l.Confirmed(r.Uint64N(blocks + 1))
					break
				}
			}
			for _, log := range []segment.LogID{present, ended} {
				require.Equal(t, n.durable(log, blocks), q.Durable(log), "seed %d", seed)
			}
			if now := q.Durable(present); !goesBack {
				require.GreaterOrEqual(t, now, before, "seed %d", seed)
			}
			before = q.Durable(present)
		}
	}
}

// The same servers lead, until others are ahead by some blocks.
func TestLeads(t *testing.T) {
	q := New(1)
	a, b := q.Joined("a", present, 100), q.Joined("b", present, 100)
	require.True(t, a.Leads())
	require.False(t, b.Leads(), "it came later")
	b.Confirmed(100 + leadLag)
	require.True(t, a.Leads(), "it is hardly behind")
	require.False(t, b.Leads())
	b.Confirmed(101 + leadLag)
	require.False(t, a.Leads(), "it does not answer")
	require.True(t, b.Leads())
	require.True(t, q.Joined("a", ended, 0).Leads(), "of another log")
	b.Left()
	require.True(t, a.Leads())

	q = New(2)
	a, b = q.Joined("a", present, 100), q.Joined("b", present, 100)
	again, c := q.Joined("a", present, 100), q.Joined("c", present, 100)
	require.True(t, a.Leads())
	require.True(t, b.Leads())
	require.True(t, again.Leads(), "one server is before it, and itself")
	require.False(t, c.Leads())
	b.Left()
	require.True(t, c.Leads())
}
