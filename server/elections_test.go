package server_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/testing/protocmp"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/segment"
)

// elect appends a block that says who is elected.
func (s *source) elect(elections ...segment.Election) {
	s.t.Helper()
	s.append(&segment.Block{Time: time.Now().UnixMilli(), Elections: elections})
}

// ship sends the blocks after a sequence.
func (s *source) ship(c *link.Conn, after uint64) {
	s.t.Helper()
	last := s.writer.Log().Last()
	more := func(after uint64) bool { return after < last }
	require.NoError(s.t, logship.Send(s.t.Context(), s.writer.Log(), after, logship.Frames{Conn: c}, logship.Options{More: more}))
}

// toldElection returns the next election that a forwarder is told.
func toldElection(t *testing.T, c *link.Conn) *linkv1.Election {
	t.Helper()
	for {
		f, err := c.Receive()
		require.NoError(t, err)
		if e := f.GetElection(); e != nil {
			return e
		}
		require.NotNil(t, f.GetPosition())
	}
}

func wireElection(e *segment.Election) *linkv1.Election {
	return &linkv1.Election{Tenant: e.Tenant, Cluster: e.Cluster, Replica: e.Replica, Term: e.Term, ClaimTime: e.ClaimTime, LogId: e.LogID[:], HeardTime: e.HeardTime}
}

func requireTold(t *testing.T, c *link.Conn, want segment.Election) {
	t.Helper()
	require.Empty(t, cmp.Diff(wireElection(&want), toldElection(t, c), protocmp.Transform()))
}

// TestForwardersAreToldOfElections checks that a forwarder comes to know what the logs of
// others say of who is elected, merged, and nothing that its own log has.
func TestForwardersAreToldOfElections(t *testing.T) {
	config := testConfig(t)
	srv := start(t, config)
	a, b := newSource(t), newSource(t)
	ca, _ := a.dialFeed(srv, false)
	cb, _ := b.dialFeed(srv, false)
	first := segment.Election{Tenant: "t", Cluster: "c", Replica: "x", Term: 1, ClaimTime: 5000, LogID: a.writer.Log().ID(), HeardTime: 5000}
	a.elect(first)
	a.ship(ca, 0)
	requireTold(t, cb, first)

	// Another claim of the same term that holds, and then that its replica was heard.
	second := first
	second.Replica, second.ClaimTime, second.LogID = "y", 4999, b.writer.Log().ID()
	b.elect(second)
	b.ship(cb, 0)
	requireTold(t, ca, second)
	second.HeardTime += time.Second.Milliseconds()
	b.elect(second)
	b.ship(cb, 1)
	requireTold(t, ca, second)
	// The first forwarder adopts it, which is no news to the second. So what comes next there
	// is of another cluster.
	other := segment.Election{Cluster: "other", Replica: "x", Term: 3, ClaimTime: 1, LogID: a.writer.Log().ID(), HeardTime: 2}
	a.elect(second, other)
	a.ship(ca, 1)
	requireTold(t, cb, other)
	srv.stop()

	// One that has lost its disk has a new log, and is told of everything, after a restart of
	// the server too.
	srv = start(t, config)
	c := newSource(t)
	c.elect()
	cc, _ := c.dialFeed(srv, false)
	requireTold(t, cc, other)
	requireTold(t, cc, second)
}

// TestHeardByASlowerClock has the elected go from a forwarder whose clock is ahead to another,
// at which it is heard by a millisecond more each time: the first has to know, or it would
// elect another.
func TestHeardByASlowerClock(t *testing.T) {
	srv := start(t, testConfig(t))
	a, b := newSource(t), newSource(t)
	ca, _ := a.dialFeed(srv, false)
	cb, _ := b.dialFeed(srv, false)
	ahead := time.Now().Add(5 * time.Minute).UnixMilli()
	said := segment.Election{Cluster: "c", Replica: "x", Term: 1, ClaimTime: ahead, LogID: a.writer.Log().ID(), HeardTime: ahead + time.Minute.Milliseconds()}
	a.elect(said)
	a.ship(ca, 0)
	requireTold(t, cb, said)
	for i := range uint64(3) {
		said.HeardTime++
		b.elect(said)
		b.ship(cb, i)
		requireTold(t, ca, said)
	}
}

// TestAbsurdElection has a log with a term that nobody can have come to: what others say goes
// on to be told.
func TestAbsurdElection(t *testing.T) {
	srv := start(t, testConfig(t))
	a, b, c := newSource(t), newSource(t), newSource(t)
	absurd := segment.Election{Cluster: "c", Replica: "nobody", Term: segment.MaxTerm, ClaimTime: -segment.MaxElectionTime, LogID: a.writer.Log().ID(), HeardTime: segment.MaxElectionTime}
	a.elect(absurd)
	ca, _ := a.dialFeed(srv, false)
	a.ship(ca, 0)
	c.elect()
	cc, _ := c.dialFeed(srv, false)
	cb, _ := b.dialFeed(srv, false)
	now := time.Now().UnixMilli()
	for i := range uint64(3) {
		said := segment.Election{Cluster: "c", Replica: "x", Term: 1 + i, ClaimTime: now, LogID: b.writer.Log().ID(), HeardTime: now}
		b.elect(said)
		b.ship(cb, i)
		requireTold(t, cc, said)
	}
}

// TestToldElectionsAreBounded has a log with more elections than a forwarder may be told of
// at a time: it is told of some, and goes on.
func TestToldElectionsAreBounded(t *testing.T) {
	config := testConfig(t)
	config.StreamBytes = 1 << 20
	srv := start(t, config)
	a, b := newSource(t), newSource(t)
	share := int(config.StreamBytes) * config.PeerShare / 100
	var many []segment.Election
	for size := 0; size <= 2*share; size += many[0].Bytes() {
		cluster := fmt.Sprintf("%0*d", segment.MaxElectionText, len(many))
		many = append(many, segment.Election{Cluster: cluster, Replica: "x", Term: 1, LogID: a.writer.Log().ID()})
	}
	a.elect(many...)
	ca, _ := a.dialFeed(srv, false)
	a.ship(ca, 0)
	b.elect()
	cb, _ := b.dialFeed(srv, false)
	fit := share / many[0].Bytes()
	for i := range fit {
		requireTold(t, cb, many[i])
	}
	// What comes next is not another election, but that the server has what it is sent.
	b.ship(cb, 0)
	f, err := cb.Receive()
	require.NoError(t, err)
	require.Equal(t, uint64(1), f.GetPosition().GetSequence())
}
