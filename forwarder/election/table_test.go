package election_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/forwarder/election"
	"github.com/promgrpc/exporter/internal/segment"
)

const failover = 30 * time.Second

var (
	start = time.UnixMilli(1_700_000_000_000)
	pair  = election.Key{Tenant: "t", Cluster: "c"}
	logs  = []segment.LogID{{1}, {2}, {3}}
)

func settings() election.Settings {
	return election.Settings{Failover: failover, Clusters: 3, Idle: time.Hour}
}

func table(log segment.LogID) *election.Table {
	t := election.New(settings())
	t.Opened(start, log, nil)
	return t
}

// ask returns what becomes of the samples of a replica, so long after the start.
func ask(t *testing.T, table *election.Table, after time.Duration, replica string) election.Decision {
	t.Helper()
	d, err := table.Request(start.Add(after), pair, replica)
	require.NoError(t, err)
	return d
}

// due returns what the log of a table has to have by now.
func due(table *election.Table) []segment.Election { return table.Due(1 << 20) }

// elected returns a table that has elected a, and what its log has.
func elected(t *testing.T) (*election.Table, segment.Election) {
	tb := table(logs[0])
	require.Equal(t, election.Wait, ask(t, tb, 0, "a"))
	claims := due(tb)
	require.Len(t, claims, 1)
	require.Equal(t, election.Take, ask(t, tb, election.Settle, "a"))
	renewed := due(tb)
	require.Len(t, renewed, 1)
	return tb, renewed[0]
}

func TestRequest(t *testing.T) {
	type step struct {
		after   time.Duration
		replica string
		want    election.Decision
	}
	settled := election.Settle
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"nobody acts on a claim before others may be known", []step{
			{0, "a", election.Wait}, {settled - 1, "a", election.Wait}, {settled - 1, "b", election.Wait}, {settled, "a", election.Take}, {settled, "b", election.Drop},
		}},
		{"the elected stays while it is heard", []step{
			{0, "a", election.Wait}, {settled, "a", election.Take}, {failover, "b", election.Drop}, {failover, "a", election.Take}, {2*failover - 1, "b", election.Drop},
		}},
		{"another is elected when it was silent", []step{
			{0, "a", election.Wait}, {settled, "a", election.Take}, {settled + failover - 1, "b", election.Drop},
			{settled + failover, "b", election.Wait}, {2*settled + failover, "b", election.Take}, {2*settled + failover, "a", election.Drop},
		}},
		{"one that comes back does not get its place back", []step{
			{0, "a", election.Wait}, {failover, "b", election.Wait}, {failover + 1, "a", election.Wait}, {failover + settled, "a", election.Drop}, {failover + settled, "b", election.Take},
		}},
		{"one that changes its name is another", []step{
			{0, "a", election.Wait}, {settled, "a", election.Take}, {settled + 1, "a2", election.Drop}, {settled + failover, "a2", election.Wait}, {2*settled + failover, "a2", election.Take},
		}},
		{"one that was elected and never came again gives way", []step{
			{0, "a", election.Wait}, {failover, "b", election.Wait}, {failover + settled, "b", election.Take},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tb := table(logs[0])
			for i, s := range tc.steps {
				require.Equal(t, s.want, ask(t, tb, s.after, s.replica), "step %d", i)
			}
		})
	}
}

func TestClustersAreLimited(t *testing.T) {
	tb := table(logs[0])
	request := func(tenant string, n int) error {
		_, err := tb.Request(start, election.Key{Tenant: tenant, Cluster: fmt.Sprint(n)}, "a")
		return err
	}
	for n := range settings().Clusters {
		require.NoError(t, request("t", n))
	}
	require.ErrorContains(t, request("t", settings().Clusters), election.FlagClusters)
	require.NoError(t, request("t", 0), "one that is known")
	require.NoError(t, request("other", 0), "of another tenant")
	known := tb.Len()
	tb.Learn(start, segment.Election{Tenant: "t", Cluster: "learned", Replica: "a", Term: 1, LogID: logs[1], HeardTime: start.UnixMilli()})
	require.Equal(t, known, tb.Len(), "nor are more learned")

	later := start.Add(settings().Idle)
	require.Empty(t, tb.Forget(later), "what is not in the log yet")
	due(tb)
	require.Len(t, tb.Forget(later), known)
	require.NoError(t, request("t", settings().Clusters))
}

func TestHeardIsWritten(t *testing.T) {
	tb, last := elected(t)
	at := election.Settle
	require.Equal(t, election.Take, ask(t, tb, at+election.Renew-1, "a"))
	require.Empty(t, due(tb), "at most so often")
	require.Equal(t, election.Drop, ask(t, tb, at+2*election.Renew, "b"))
	require.Empty(t, due(tb), "of the elected alone")
	require.Equal(t, election.Take, ask(t, tb, at+2*election.Renew, "a"))
	next := due(tb)
	require.Len(t, next, 1)
	require.Greater(t, next[0].HeardTime, last.HeardTime)
	require.Zero(t, next[0].Compare(&last), "the claim is the same")
	require.Empty(t, due(tb), "once")
	// With a clock that was set back by an hour it goes on.
	require.Equal(t, election.Take, ask(t, tb, -time.Hour, "a"))
	back := due(tb)
	require.Len(t, back, 1)
	require.Greater(t, back[0].HeardTime, next[0].HeardTime)
}

// What is heard elsewhere counts from when it comes to be known, whatever that clock says.
func TestClocksThatDiffer(t *testing.T) {
	for _, off := range []time.Duration{-40 * time.Minute, 0, 40 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			there, here := election.New(settings()), table(logs[1])
			there.Opened(start.Add(off), logs[0], nil)
			for at := time.Duration(0); at < 3*failover; at += election.Renew {
				_, err := there.Request(start.Add(off+at), pair, "a")
				require.NoError(t, err)
				for _, e := range due(there) {
					here.Learn(start.Add(at), e)
				}
			}
			end := 3*failover - election.Renew
			require.Equal(t, election.Drop, ask(t, here, end+failover-1, "b"))
			// The elected comes here now: others take what is heard here for news, too.
			require.Equal(t, election.Take, ask(t, here, end+failover-1, "a"))
			news := due(here)
			require.Len(t, news, 1)
			there.Learn(start.Add(off+end+failover-1), news[0])
			d, err := there.Request(start.Add(off+end+failover), pair, "b")
			require.NoError(t, err)
			require.Equal(t, election.Drop, d)
			require.Equal(t, election.Wait, ask(t, here, end+2*failover, "b"))
		})
	}
}

func TestLearn(t *testing.T) {
	_, claim := elected(t)
	with := func(change func(*segment.Election)) segment.Election { e := claim; change(&e); return e }
	fresh := with(func(e *segment.Election) { e.HeardTime = e.ClaimTime })
	for _, tc := range []struct {
		name     string
		learned  segment.Election
		a, b     election.Decision // of requests at once
		conflict bool
	}{
		{"a later claim of the term", with(func(e *segment.Election) { e.ClaimTime++; e.Replica = "b" }), election.Take, election.Drop, false},
		{"an earlier one", with(func(e *segment.Election) { e.ClaimTime--; e.Replica = "b" }), election.Drop, election.Take, true},
		{"of the same time, of a higher log", with(func(e *segment.Election) { e.LogID = logs[2]; e.Replica = "b" }), election.Take, election.Drop, false},
		{"of the same time, of a lower log", with(func(e *segment.Election) { e.LogID = segment.LogID{0, 1}; e.Replica = "b" }), election.Drop, election.Take, true},
		{"of a higher term", with(func(e *segment.Election) { e.Term++; e.ClaimTime = 1e15; e.HeardTime = 2e15; e.Replica = "b" }), election.Drop, election.Take, false},
		{"one that its own forwarder does not act on yet", with(func(e *segment.Election) { e.Term, e.HeardTime, e.Replica = 2, e.ClaimTime, "b" }), election.Wait, election.Wait, false},
		{"of the same replica", with(func(e *segment.Election) { e.Term, e.HeardTime = 2, e.ClaimTime }), election.Take, election.Drop, false},
		{"its own as it was", fresh, election.Take, election.Drop, false},
		{"one that is not valid", with(func(e *segment.Election) { e.Term, e.Replica = segment.MaxTerm+1, "b" }), election.Take, election.Drop, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tb, own := elected(t)
			tb.Changes()
			tb.Learn(start.Add(election.Settle), tc.learned)
			changes := tb.Changes()
			require.Equal(t, tc.conflict, slices.ContainsFunc(changes, func(c election.Change) bool { return c.Conflict }))
			if own.Compare(&tc.learned) < 0 && tc.learned.Check() == nil {
				require.Equal(t, []segment.Election{tc.learned}, due(tb), "what is acted on is in the log")
				require.True(t, len(changes) == 1 && changes[0].Learned)
			} else {
				require.Empty(t, due(tb))
				require.Empty(t, changes)
			}
			require.Equal(t, tc.a, ask(t, tb, election.Settle, "a"))
			require.Equal(t, tc.b, ask(t, tb, election.Settle, "b"))
		})
	}
}

// What a faulty forwarder claims holds no longer than another claim, whatever its term.
func TestAbsurdTerms(t *testing.T) {
	tb, claim := elected(t)
	for _, term := range []uint64{segment.MaxTerm, uint64(start.Unix()) + 100} {
		wrong := claim
		wrong.Replica, wrong.Term = "nobody", term
		tb.Learn(start.Add(election.Settle), wrong)
		require.Equal(t, "a", tb.Elected(pair), "term %d", term)
	}
	wrong := claim
	wrong.Replica, wrong.Term, wrong.ClaimTime, wrong.HeardTime = "nobody", uint64(start.Unix()), -segment.MaxElectionTime, segment.MaxElectionTime
	tb.Learn(start.Add(election.Settle), wrong)
	require.Equal(t, "nobody", tb.Elected(pair))
	at := election.Settle + failover
	require.Equal(t, election.Wait, ask(t, tb, at, "a"))
	other := table(logs[1])
	other.Learn(start.Add(at), wrong)
	for _, e := range due(tb) {
		other.Learn(start.Add(at), e)
	}
	require.Equal(t, "a", other.Elected(pair))
}

// A forwarder that knows nothing, having lost its disk, learns before it acts on its own.
func TestLostDisk(t *testing.T) {
	_, claim := elected(t)
	again := table(logs[1])
	require.Equal(t, election.Wait, ask(t, again, 10*time.Second, "b"))
	again.Learn(start.Add(11*time.Second), claim)
	require.Equal(t, election.Drop, ask(t, again, 11*time.Second, "b"))
	require.Equal(t, election.Take, ask(t, again, 11*time.Second, "a"))
}

func TestRestart(t *testing.T) {
	_, claim := elected(t)
	at := func(after time.Duration, log segment.LogID) *election.Table {
		tb := election.New(settings())
		tb.Opened(start.Add(after), log, []segment.Election{claim})
		return tb
	}
	tb := at(10*time.Minute, claim.LogID)
	require.Empty(t, due(tb), "the log has it")
	require.Equal(t, election.Drop, ask(t, tb, 10*time.Minute, "b"), "the elected has the time to be heard again")
	require.Equal(t, election.Take, ask(t, tb, 10*time.Minute, "a"))

	tb = at(2*settings().Idle, claim.LogID)
	require.Equal(t, election.Wait, ask(t, tb, 2*settings().Idle, "b"), "nobody has been elected for long")
	next := due(tb)
	require.Len(t, next, 1)
	require.Equal(t, claim.Term+1, next[0].Term)

	// The log was opened again, without what was not on the disk.
	live, _ := elected(t)
	live.Opened(start.Add(election.Settle), claim.LogID, nil)
	require.Len(t, due(live), 1)
	// Another log has everything that is known.
	live.Opened(start.Add(election.Settle), logs[2], []segment.Election{claim})
	require.Empty(t, due(live))
	require.Equal(t, election.Take, ask(t, live, election.Settle, "a"))
}

func TestDueIsBounded(t *testing.T) {
	tb := table(logs[0])
	for n := range settings().Clusters {
		_, err := tb.Request(start, election.Key{Cluster: fmt.Sprint(n)}, "a")
		require.NoError(t, err)
	}
	require.True(t, tb.Claimed())
	require.Len(t, tb.Due(settings().Clusters-1), settings().Clusters-1)
	require.Len(t, tb.Due(settings().Clusters-1), 1)
	require.False(t, tb.Claimed())
}

// TestAgreement has forwarders elect, learn of each other in any order, late or not at all
// for a while, restart from their logs or without them, and compares what they come to.
func TestAgreement(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 2 + r.IntN(2)
		tables, said := make([]*election.Table, n), make([][]segment.Election, n)
		skew := make([]time.Duration, n)
		for i := range tables {
			tables[i], skew[i] = table(logs[i]), time.Duration(r.IntN(600)-300)*time.Second
		}
		now := start
		clock := func(i int) time.Time { return now.Add(skew[i]) }
		write := func(i int) { said[i] = append(said[i], due(tables[i])...) }
		for range 200 {
			now = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
			i, j := r.IntN(n), r.IntN(n)
			switch k := r.IntN(20); {
			case k < 12:
				_, err := tables[i].Request(clock(i), pair, string(rune('a'+r.IntN(2))))
				require.NoError(t, err)
				write(i)
			case k < 18:
				for _, e := range said[j] {
					tables[i].Learn(clock(i), e)
				}
				write(i)
			case k == 18:
				tables[i] = election.New(settings())
				tables[i].Opened(clock(i), logs[i], latest(said[i]))
			default:
				now = now.Add(failover)
			}
		}
		var all []segment.Election
		for _, s := range said {
			all = append(all, s...)
		}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		now = now.Add(election.Settle)
		for i := range tables {
			for _, e := range all {
				tables[i].Learn(clock(i), e)
			}
			require.Equal(t, tables[0].Elected(pair), tables[i].Elected(pair), "seed %d", seed)
		}
		if len(all) == 0 {
			continue
		}
		merged := all[0]
		for _, e := range all[1:] {
			merged = merged.Merge(e)
		}
		require.Equal(t, merged.Replica, tables[0].Elected(pair), "seed %d", seed)
	}
}

// latest is what a log's state says after its blocks.
func latest(blocks []segment.Election) []segment.Election {
	return blocks[max(0, len(blocks)-1):]
}
