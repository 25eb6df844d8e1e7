package forwarder

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/election"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/segment"
)

const undecidedCode = linkv1.Code_CODE_UNDECIDED

// paired is a forwarder that elects, whose clock goes on when it is told to.
type paired struct {
	*running
	config Config
	ahead  *atomic.Int64
}

func startPaired(t *testing.T, change ...func(*Config)) *paired {
	t.Helper()
	p := &paired{config: testConfig(t.TempDir()), ahead: new(atomic.Int64)}
	p.config.Enabled = true
	for _, c := range change {
		c(&p.config)
	}
	p.again(t)
	return p
}

// again starts the forwarder again, with the clock as it is.
func (p *paired) again(t *testing.T) {
	t.Helper()
	if p.running != nil {
		p.stop()
	}
	p.ahead.Store(0)
	began := time.Now()
	p.running = start(t, p.config, func(f *Forwarder) {
		f.appender.now = func() time.Time { return began.Add(time.Duration(p.ahead.Load())) }
	})
}

func (p *paired) after(d time.Duration) { p.ahead.Add(int64(d)) }

// of returns a series of a replica of a cluster.
func of(cluster, replica string, at int64, labels ...string) ts {
	return one(float64(at), at, append([]string{"__name__", "up", "__replica__", replica, "cluster", cluster}, labels...)...)
}

// elects has a replica elected.
func (p *paired) elects(s *sender, cluster, replica string) {
	p.t.Helper()
	require.Equal(p.t, undecidedCode, s.send(v1, bodyOf(p.t, v1, of(cluster, replica, 1))).GetCode())
	p.after(election.Settle)
	s.mustStore(v1, bodyOf(p.t, v1, of(cluster, replica, 1)))
}

// lines are the samples that the log holds, as series and timestamp.
func (p *paired) lines() (lines []string) {
	p.t.Helper()
	names := map[uint64]string{}
	for _, b := range p.blocks() {
		for i, ref := range b.Series.Refs {
			var text []string
			for _, l := range b.Series.AppendLabels(nil, i) {
				text = append(text, l.Name+"="+l.Value)
			}
			names[ref] = strings.Join(text, " ")
		}
		for x := range b.Samples.All() {
			lines = append(lines, fmt.Sprintf("%s @%d", names[x.Ref], x.Timestamp))
		}
	}
	return lines
}

func TestPairs(t *testing.T) {
	for _, schemas := range [][2]linkv1.Schema{{v1, v1}, {v1, v2}, {v2, v1}, {v2, v2}} {
		t.Run(fmt.Sprint(schemas), func(t *testing.T) {
			p := startPaired(t)
			s := p.sender()
			send := func(replica string, at int64) told {
				t.Helper()
				schema := schemas[replica[0]-'a']
				return toldBy(s.send(schema, bodyOf(t, schema, of("c", replica, at), of("c", replica, at, "i", "2"))))
			}
			wrote := told{Code: ok, Samples: 2}
			require.Equal(t, undecidedCode, send("a", 1).Code)
			require.Equal(t, undecidedCode, send("b", 1).Code)
			require.Equal(t, 2.0, testutil.ToFloat64(p.in.metrics.pairs.waited))
			p.after(election.Settle)
			require.Equal(t, wrote, send("a", 1))
			require.Equal(t, wrote, send("b", 1), "what is dropped was written, as far as the sender is concerned")
			require.Equal(t, wrote, send("b", 2))
			require.Equal(t, wrote, send("a", 3))
			require.Equal(t, 4.0, testutil.ToFloat64(p.in.metrics.pairs.dropped))
			want := []string{"__name__=up cluster=c @1", "__name__=up cluster=c i=2 @1", "__name__=up cluster=c @3", "__name__=up cluster=c i=2 @3"}
			require.Equal(t, want, p.lines())
			require.Equal(t, 1.0, testutil.ToFloat64(p.in.metrics.pairs.current.WithLabelValues("", "c", "a")))

			// A restart changes nothing.
			p.again(t)
			s = p.sender()
			require.Equal(t, wrote, send("b", 4))
			require.Equal(t, wrote, send("a", 5))
			want = append(want, "__name__=up cluster=c @5", "__name__=up cluster=c i=2 @5")
			require.Equal(t, want, p.lines())

			// The elected is silent, and another takes over. What was dropped stays dropped.
			p.after(p.config.Failover)
			require.Equal(t, undecidedCode, send("b", 6).Code)
			p.after(election.Settle)
			require.Equal(t, wrote, send("b", 6))
			require.Equal(t, wrote, send("b", 4), "a repeat of what was dropped")
			require.Equal(t, wrote, send("a", 7), "it has come back")
			want = append(want, "__name__=up cluster=c @6", "__name__=up cluster=c i=2 @6")
			require.Equal(t, want, p.lines())
			require.Equal(t, 1.0, testutil.ToFloat64(p.in.metrics.pairs.changes))
			require.Equal(t, 1, testutil.CollectAndCount(p.in.metrics.pairs.current))
			require.Equal(t, 1.0, testutil.ToFloat64(p.in.metrics.pairs.current.WithLabelValues("", "c", "b")))
			require.Equal(t, 2.0, testutil.ToFloat64(p.in.metrics.series))
		})
	}
}

// TestPairsInOneRequest has series of several senders in a request: each goes by its own.
func TestPairsInOneRequest(t *testing.T) {
	for _, schema := range []linkv1.Schema{v1, v2} {
		p := startPaired(t)
		s := p.sender()
		p.elects(s, "c", "a")
		p.elects(s, "d", "b")
		before := len(p.lines())
		mixed := func(at int64, more ...ts) []byte {
			return bodyOf(t, schema, append([]ts{of("c", "a", at), of("c", "b", at), of("d", "a", at, "i", "x"), of("d", "b", at), one(1, at, "__name__", "alone"), one(1, at, "__name__", "alone", "__replica__", "a")}, more...)...)
		}
		require.Equal(t, told{Code: ok, Samples: 6}, toldBy(s.send(schema, mixed(5))))
		want := []string{"__name__=up cluster=c @5", "__name__=up cluster=d @5", "__name__=alone @5", "__name__=alone __replica__=a @5"}
		require.Equal(t, want, p.lines()[before:])
		// One that has to wait has all of them wait, and leaves no trace.
		require.Equal(t, undecidedCode, s.send(schema, mixed(6, of("e", "a", 6))).GetCode())
		require.Len(t, p.lines(), before+len(want))
		p.after(election.Settle)
		require.Equal(t, told{Code: ok, Samples: 7}, toldBy(s.send(schema, mixed(6, of("e", "a", 6)))))
		require.Len(t, p.lines(), before+2*len(want)+1)
		// What the sender is told of is what it sent, and of that what is wrong.
		v := toldBy(s.send(schema, mixed(7, of("c", "a", 7, "bad", "\xff"), of("c", "b", 7, "bad", "\xff"))))
		require.Equal(t, told{Code: invalid, Samples: 7, Rejected: 1}, v)
		p.stop()
	}
}

func TestPairsOfTenants(t *testing.T) {
	p := startPaired(t)
	s := p.sender()
	sendOf := func(tenant, replica string, at int64) linkv1.Code {
		s.tenant = &linkv1.Label{Name: tenantLabel, Value: tenant}
		return s.send(v1, bodyOf(t, v1, of("c", replica, at))).GetCode()
	}
	require.Equal(t, undecidedCode, sendOf("x", "a", 1))
	require.Equal(t, undecidedCode, sendOf("y", "b", 1))
	p.after(election.Settle)
	for _, tenant := range []string{"x", "y"} {
		for _, replica := range []string{"a", "b"} {
			require.Equal(t, ok, sendOf(tenant, replica, 2))
		}
	}
	require.Equal(t, []string{"__name__=up cluster=c job=x @2", "__name__=up cluster=c job=y @2"}, p.lines())
}

// TestPairsOff has the labels as they come where nobody is elected, and forgets who was.
func TestPairsOff(t *testing.T) {
	p := startPaired(t)
	s := p.sender()
	p.elects(s, "c", "a")
	p.config.Enabled = false
	p.config.SegmentSize = 1 // a segment ends when its blocks take as much as its keyframe
	p.again(t)
	s = p.sender()
	for i := range int64(20) {
		s.mustStore(v1, bodyOf(t, v1, of("c", "b", 2+i), of("c", "a", 2+i)))
	}
	lines := p.lines()
	require.Contains(t, lines, "__name__=up __replica__=b cluster=c @2")
	require.Contains(t, lines, "__name__=up __replica__=a cluster=c @2")
	require.Empty(t, p.appender.state.head.Elections())
}

func TestClustersAreLimited(t *testing.T) {
	for _, schema := range []linkv1.Schema{v1, v2} {
		p := startPaired(t, func(c *Config) { c.MaxClusters = 2 })
		s := p.sender()
		for i := range p.config.MaxClusters {
			p.elects(s, fmt.Sprint(i), "a")
		}
		v := s.send(schema, bodyOf(t, schema, of("one-more", "a", 5), of("0", "a", 5), one(1, 5, "__name__", "alone")))
		require.Equal(t, told{Code: invalid, Samples: 2, Rejected: 1}, toldBy(v))
		require.Contains(t, v.GetErrors()[0], election.FlagClusters)
		require.Contains(t, v.GetErrors()[0], "one-more")
		require.Equal(t, 1.0, testutil.ToFloat64(p.in.metrics.overLimit.WithLabelValues("ha-clusters")))
		// Those that were not heard of for long give way.
		p.config.SegmentSize = 1
		p.again(t)
		s = p.sender()
		p.after(p.config.SeriesIdle + time.Minute)
		for i := range int64(20) {
			s.mustStore(v1, bodyOf(t, v1, one(1, 10+i, "__name__", "alone")))
		}
		require.Zero(t, testutil.CollectAndCount(p.in.metrics.pairs.current))
		require.Equal(t, undecidedCode, s.send(schema, bodyOf(t, schema, of("one-more", "a", 50))).GetCode())
		p.stop()
	}
}

// TestManyClaims has a request with series of more clusters than a block has elections: others
// come to know all claims before any is acted on.
func TestManyClaims(t *testing.T) {
	const n = 3 * mostDue
	p := startPaired(t, func(c *Config) { c.MaxClusters, c.Tick = n, 0 })
	var series []ts
	for i := range n {
		series = append(series, of(fmt.Sprint(i), "a", 1))
	}
	require.Equal(t, undecidedCode, p.sender().send(v1, bodyOf(t, v1, series...)).GetCode())
	claims := 0
	for _, b := range p.blocks() {
		claims += len(b.Elections)
	}
	require.Equal(t, n, claims)
}

// TestElectionsAreInTheLog checks what other forwarders come to know: a claim at once, that
// the elected was heard at most every second, and all of it after a rotation.
func TestElectionsAreInTheLog(t *testing.T) {
	p := startPaired(t, func(c *Config) { c.SegmentSize = 1 })
	s := p.sender()
	said := func() (all []segment.Election) {
		for _, b := range p.blocks() {
			all = append(all, b.Elections...)
		}
		return all
	}
	require.Equal(t, undecidedCode, s.send(v1, bodyOf(t, v1, of("c", "a", 1))).GetCode())
	require.Equal(t, undecidedCode, s.send(v1, bodyOf(t, v1, of("c", "a", 1))).GetCode())
	claims := said()
	require.Len(t, claims, 1)
	log, _ := p.appender.log()
	require.Equal(t, log.ID(), claims[0].LogID)
	require.NoError(t, claims[0].Check())
	p.after(election.Settle)
	for i := range int64(10) {
		s.mustStore(v1, bodyOf(t, v1, of("c", "a", 2+i)))
	}
	require.Len(t, said(), 2, "heard twice within a second")
	for i := range int64(20) {
		p.after(election.Renew)
		s.mustStore(v1, bodyOf(t, v1, of("c", "a", 20+i)))
	}
	require.Len(t, said(), 22)
	require.Greater(t, len(log.Segments()), 1)
	before := p.appender.state.head.Elections()
	require.Len(t, before, 1)
	p.again(t)
	require.Equal(t, before, p.appender.state.head.Elections())
}

// electing is a server that says who is elected in other logs.
func electing(t *testing.T, told <-chan *linkv1.Election) string {
	t.Helper()
	r := serveReplica(t, t.TempDir(), "127.0.0.1:0")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.elections = told
	return r.addr
}

func sendElections(c *link.Conn, told <-chan *linkv1.Election, ended <-chan struct{}) {
	for {
		select {
		case e := <-told:
			if c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Election{Election: e}}) != nil {
				return
			}
		case <-ended:
			return
		}
	}
}

// TestForwardersComeToTheSame has a forwarder learn of a claim that holds over its own, and
// of one while it has none, having lost its disk.
func TestForwardersComeToTheSame(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			told := make(chan *linkv1.Election, 1)
			server := electing(t, told)
			p := startPaired(t, func(c *Config) { c.Server = server })
			s := p.sender()
			if !lost {
				p.elects(s, "c", "b")
			}
			claimed := time.Now().Add(-time.Minute).UnixMilli()
			e := &linkv1.Election{Cluster: "c", Replica: "a", Term: 1, ClaimTime: claimed, LogId: make([]byte, 16), HeardTime: claimed + election.Settle.Milliseconds()}
			e.LogId[0] = 1
			told <- e
			eventually(t, "the claim is known", func() bool {
				return testutil.ToFloat64(p.in.metrics.pairs.current.WithLabelValues("", "c", "a")) == 1
			})
			s.mustStore(v1, bodyOf(t, v1, of("c", "a", 5)))
			s.mustStore(v1, bodyOf(t, v1, of("c", "b", 6)))
			lines := p.lines()
			require.Equal(t, "__name__=up cluster=c @5", lines[len(lines)-1])
			want := 1.0
			if lost {
				want = 0
			}
			require.Equal(t, want, testutil.ToFloat64(p.in.metrics.pairs.conflicts))
			// It is in this log now.
			p.config.Server = ""
			p.again(t)
			require.Empty(t, cmp.Diff("a", p.appender.state.head.Elections()[0].Replica))
		})
	}
}

// TestElectionsComeFromServers ends the link of a receiver that sends one, and of a server
// that sends one that is not valid.
func TestElectionsComeFromServers(t *testing.T) {
	told := make(chan *linkv1.Election, 2)
	p := startPaired(t, func(c *Config) { c.Server = electing(t, told) })
	s := p.sender()
	e := &linkv1.Election{Cluster: "c", Replica: "a", Term: 1, LogId: []byte(strings.Repeat("x", 16))}
	require.NoError(t, s.conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Election{Election: e}}))
	_, err := s.conn.Receive()
	require.Error(t, err)
	var goodbye *link.GoodbyeError
	require.ErrorAs(t, err, &goodbye)

	e.Term = 0
	told <- e
	valid := &linkv1.Election{Cluster: "d", Replica: "a", Term: 1, LogId: e.LogId, HeardTime: time.Now().UnixMilli()}
	eventually(t, "the server is taken again", func() bool {
		select {
		case told <- valid:
		default:
		}
		return testutil.CollectAndCount(p.in.metrics.pairs.current) == 1
	})
	require.Equal(t, 1.0, testutil.ToFloat64(p.in.metrics.pairs.current.WithLabelValues("", "d", "a")))
}

func TestPairsFlags(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no cluster label": func(c *Config) { c.ClusterLabel = "" },
		"no replica label": func(c *Config) { c.ReplicaLabels = nil },
		"an empty one":     func(c *Config) { c.ReplicaLabels = []string{"a", ""} },
		"the same":         func(c *Config) { c.ReplicaLabels = []string{c.ClusterLabel} },
		"a short failover": func(c *Config) { c.Failover = leastFailover - 1 },
		"no clusters":      func(c *Config) { c.MaxClusters = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t.TempDir())
			require.NoError(t, c.check())
			change(&c)
			require.Error(t, c.check())
		})
	}
}
