package feed

import (
	"cmp"
	"context"
	"encoding/binary"
	"log/slog"
	"maps"
	"slices"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// Forwarders elect senders of HA pairs, each in its own log. A server has all of these
// logs, and tells each forwarder what the others have that its own does not.

const (
	// electionsEvery is how often a server looks whether there is something to tell. A
	// forwarder waits for others for much longer before it acts on an election.
	electionsEvery = 200 * time.Millisecond
	// heardEvery is how long it is before it is told again that an elected was heard.
	heardEvery = time.Second
)

// teller tells a forwarder on one connection.
type teller struct {
	own  *replica.Replica
	sent map[head.Cluster]sent
	room *limit.Hold // for what was sent
	seen uint64      // stands for the logs as they were looked at, 0: again in any case
}

// sent is what a forwarder was told of a cluster, and when.
type sent struct {
	segment.Election
	at time.Time
}

// Wait waits until no forwarder is told of elections any more. All connections have ended.
func (f *Feed) Wait() { f.telling.Wait() }

// tellElections tells a forwarder of elections until ctx or the connection ends.
func (f *Feed) tellElections(ctx context.Context, c *link.Conn, own *replica.Replica) {
	t := &teller{own: own, sent: map[head.Cluster]sent{}, room: f.sentBack.Hold(c.Peer())}
	defer t.room.Release()
	tick := time.NewTicker(electionsEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		for _, e := range t.news(now, f.replicas.All()) {
			if err := t.note(now, e); err != nil {
				f.log.Log(slog.LevelWarn, "a forwarder is not told of all elections", "log_id", own.ID.String(), "err", err)
				break
			}
			if c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Election{Election: linkElection(&e)}}) != nil {
				return // So does the next Receive.
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// news returns what the logs say together that the forwarder's does not, and that it was
// not told yet.
func (t *teller) news(now time.Time, logs []*replica.Replica) []segment.Election {
	changes := uint64(1)
	for _, r := range logs {
		const prime = 1099511628211
		changes = (changes*prime^binary.LittleEndian.Uint64(r.ID[:]))*prime ^ r.Head.ElectionChanges()
	}
	if changes == t.seen {
		return nil
	}
	t.seen = changes
	all := map[head.Cluster]segment.Election{}
	for _, r := range logs {
		for _, e := range r.Head.Elections() {
			if !e.Believed(now) {
				continue
			}
			k := head.ClusterOf(&e)
			if before, ok := all[k]; ok {
				e = before.Merge(e)
			}
			all[k] = e
		}
	}
	t.forget(all)
	for _, e := range t.own.Head.Elections() {
		if k := head.ClusterOf(&e); !later(e, all[k]) {
			delete(all, k)
		}
	}
	maps.DeleteFunc(all, func(k head.Cluster, e segment.Election) bool { return !t.due(now, k, e) })
	return slices.SortedFunc(maps.Values(all), func(a, b segment.Election) int { //nolint:gocritic // The signature is that of the library.
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Cluster, b.Cluster))
	})
}

// due says whether an election is to be told now: a claim at once, and that its replica was
// heard not more often than every heardEvery. Its time does not count for that: where the
// elected is heard now, the clock may be behind that of the forwarder which heard it before.
func (t *teller) due(now time.Time, k head.Cluster, e segment.Election) bool { //nolint:gocritic // They are values everywhere here.
	before, ok := t.sent[k]
	switch {
	case !ok:
		return true
	case !later(before.Election, e):
		return false
	case before.Compare(&e) == 0 && now.Sub(before.at) < heardEvery:
		t.seen = 0
		return false
	}
	return true
}

// later says whether an election is news to who knows another one.
func later(known, e segment.Election) bool { //nolint:gocritic // They are values everywhere here.
	return cmp.Or(known.Compare(&e), cmp.Compare(known.HeardTime, e.HeardTime)) < 0
}

// note remembers what is about to be sent, if there is room for that.
func (t *teller) note(now time.Time, e segment.Election) error { //nolint:gocritic // It is kept.
	k := head.ClusterOf(&e)
	if err := t.room.Grow(int64(e.Bytes() - t.taken(k))); err != nil {
		t.seen = 0 // The rest is tried again.
		return err
	}
	t.sent[k] = sent{e, now}
	return nil
}

// taken is how much room what was sent of a cluster takes.
func (t *teller) taken(k head.Cluster) int {
	if before, ok := t.sent[k]; ok {
		return before.Bytes()
	}
	return 0
}

// forget what was sent of clusters that no log has any more.
func (t *teller) forget(all map[head.Cluster]segment.Election) {
	maps.DeleteFunc(t.sent, func(k head.Cluster, _ sent) bool {
		_, there := all[k]
		if !there {
			_ = t.room.Resize(t.room.Held() - int64(t.taken(k))) // Less is never refused.
		}
		return !there
	})
}

func linkElection(e *segment.Election) *linkv1.Election {
	return &linkv1.Election{
		Tenant: e.Tenant, Cluster: e.Cluster, Replica: e.Replica,
		Term: e.Term, ClaimTime: e.ClaimTime, LogId: e.LogID[:], HeardTime: e.HeardTime,
	}
}
