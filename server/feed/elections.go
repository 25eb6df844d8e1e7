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
	// heardEvery is how much later an elected has to be heard of to be told again.
	heardEvery = time.Second
)

// teller tells a forwarder on one connection.
type teller struct {
	own  *replica.Replica
	sent map[head.Cluster]segment.Election
	room *limit.Hold // for what was sent
	seen uint64      // stands for the logs as they were looked at
}

// tellElections tells a forwarder of elections until ctx or the connection ends.
func (f *Feed) tellElections(ctx context.Context, c *link.Conn, own *replica.Replica) {
	t := &teller{own: own, sent: map[head.Cluster]segment.Election{}, room: f.sentBack.Hold(c.Peer())}
	defer t.room.Release()
	tick := time.NewTicker(electionsEvery)
	defer tick.Stop()
	for {
		for _, e := range t.news(f.replicas.All()) {
			if err := t.note(e); err != nil {
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
func (t *teller) news(logs []*replica.Replica) []segment.Election {
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
			k := head.ClusterOf(&e)
			if before, ok := all[k]; ok {
				e = before.Merge(e)
			}
			all[k] = e
		}
	}
	for _, e := range t.own.Head.Elections() {
		if k := head.ClusterOf(&e); !later(e, all[k]) {
			delete(all, k)
		}
	}
	maps.DeleteFunc(all, func(k head.Cluster, e segment.Election) bool {
		sent, ok := t.sent[k]
		return ok && !later(sent, e)
	})
	return slices.SortedFunc(maps.Values(all), func(a, b segment.Election) int { //nolint:gocritic // The signature is that of the library.
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Cluster, b.Cluster))
	})
}

// later says whether an election is news to who knows another one.
func later(known, e segment.Election) bool { //nolint:gocritic // They are values everywhere here.
	if c := known.Compare(&e); c != 0 {
		return c < 0
	}
	return e.HeardTime >= known.HeardTime+heardEvery.Milliseconds()
}

// note remembers what is about to be sent, if there is room for that.
func (t *teller) note(e segment.Election) error { //nolint:gocritic // It is kept.
	k := head.ClusterOf(&e)
	if _, ok := t.sent[k]; !ok {
		if err := t.room.Grow(int64(e.Bytes())); err != nil {
			t.seen = 0 // The rest is tried again.
			return err
		}
	}
	t.sent[k] = e
	return nil
}

func linkElection(e *segment.Election) *linkv1.Election {
	return &linkv1.Election{
		Tenant: e.Tenant, Cluster: e.Cluster, Replica: e.Replica,
		Term: e.Term, ClaimTime: e.ClaimTime, LogId: e.LogID[:], HeardTime: e.HeardTime,
	}
}
