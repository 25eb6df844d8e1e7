package election

import (
	"cmp"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// Settings of a table.
type Settings struct {
	// Failover is how long the elected has to be silent before another is elected.
	Failover time.Duration
	// Clusters that a tenant may have. All together have mostTenants times as many.
	Clusters int
	// Idle is how long after it was last heard of a cluster is forgotten by Forget. 0:
	// never.
	Idle time.Duration
}

// FlagClusters limits the clusters of a tenant.
const FlagClusters = "--limit.ha-clusters"

const (
	// Settle is how long nobody acts on a claim, so that others come to be known: that of
	// another forwarder is in its log, goes from there to a server, and from that to here.
	Settle = 2 * time.Second
	// Renew is how often it is written to the log at most that the elected was heard.
	Renew = time.Second
)

// Key names a cluster of senders.
type Key struct{ Tenant, Cluster string }

// Decision is what becomes of the samples of a sender.
type Decision uint8

// The decisions.
const (
	// Take what the elected sends.
	Take Decision = iota + 1
	// Drop what another sends, and tell it that it was written.
	Drop
	// Wait has the sender come again: nobody acts on the claim yet.
	Wait
)

// Table knows who is elected, by cluster.
type Table struct {
	settings Settings
	log      segment.LogID
	entries  map[Key]*entry
	clusters map[string]int // by tenant
	due      []*entry
	changes  []Change
}

// entry is what is known of a cluster.
type entry struct {
	key     Key
	current segment.Election
	heard   time.Time // the elected, by our own clock, or news of it
	// settling is since when the claim is known, and zero if it is acted on in any case.
	settling time.Time
	// renewed is when what we heard ourselves was last to be written to the log.
	renewed time.Time
	due     bool
}

// Change is an election that differs from the one before.
type Change struct {
	// Before has no term if nobody was elected.
	Before, After segment.Election
	// Learned: the claim is that of another forwarder, or from another log.
	Learned bool
	// Conflict: two forwarders elected different replicas at once.
	Conflict bool
}

// New returns an empty table.
func New(s Settings) *Table {
	return &Table{settings: s, entries: map[Key]*entry{}, clusters: map[string]int{}}
}

// Request decides about the samples of a replica of a cluster, which claims the cluster if
// nobody is elected, or the elected was silent for long. The error is a limit's: nothing is
// kept of the cluster, and its samples are to be refused.
func (t *Table) Request(now time.Time, k Key, replica string) (Decision, error) {
	e := t.entries[k]
	switch {
	case e == nil:
		if t.full(k.Tenant) {
			return 0, limit.Over(FlagClusters, "its cluster would be one more than %d that are elected for", t.settings.Clusters)
		}
		e = t.add(k)
		t.claim(e, now, replica)
	case replica == e.current.Replica:
		t.hear(e, now)
	case now.Sub(e.heard) >= t.settings.Failover && e.settled(now):
		t.claim(e, now, replica)
	}
	switch {
	case !e.settled(now):
		return Wait, nil
	case replica == e.current.Replica:
		return Take, nil
	}
	return Drop, nil
}

// mostTenants is how many tenants may have as many clusters as they may.
const mostTenants = 100

func (t *Table) full(tenant string) bool {
	return t.clusters[tenant] >= t.settings.Clusters || len(t.entries) >= mostTenants*t.settings.Clusters
}

func (t *Table) add(k Key) *entry {
	e := &entry{key: k}
	t.entries[k] = e
	t.clusters[k.Tenant]++
	return e
}

// claim elects a replica, as of a time after the wait.
func (t *Table) claim(e *entry, now time.Time, replica string) {
	ms := now.UnixMilli()
	t.replace(e, segment.Election{
		Tenant: e.key.Tenant, Cluster: e.key.Cluster, Replica: replica,
		Term: min(e.current.Term+1, segment.MaxTerm), ClaimTime: ms, LogID: t.log, HeardTime: ms,
	}, false)
	e.heard, e.renewed, e.settling = now, now, now
}

// settled says whether the claim is acted on. A clock that is set back delays that no
// longer.
func (e *entry) settled(now time.Time) bool { return now.Sub(e.settling).Abs() >= Settle }

func (t *Table) replace(e *entry, with segment.Election, learned bool) {
	t.changes = append(t.changes, Change{
		Before: e.current, After: with, Learned: learned,
		Conflict: learned && e.current.Term == with.Term && e.current.Replica != with.Replica,
	})
	e.current = with
	t.mark(e)
}

// mark has the election written to the log.
func (t *Table) mark(e *entry) {
	if !e.due {
		e.due = true
		t.due = append(t.due, e)
	}
}

// hear notes that the elected was heard. What the log says of it goes on even if another
// forwarder, whose clock is ahead, has said so before: it is news.
func (t *Table) hear(e *entry, now time.Time) {
	e.heard = now
	if now.Sub(e.renewed).Abs() < Renew {
		return // A clock that was set back must not stop it.
	}
	e.renewed = now
	e.current.HeardTime = min(max(now.UnixMilli(), e.current.HeardTime+1), segment.MaxElectionTime)
	t.mark(e)
}

// Learn takes note of an election that another log has, and of one that came from this
// log's copies. One that is not valid or not believed, or of a cluster that would be
// forgotten, is of no interest.
func (t *Table) Learn(now time.Time, o segment.Election) {
	k := Key{o.Tenant, o.Cluster}
	if o.Check() == nil && o.Believed(now) && (t.entries[k] != nil || !t.stale(now, &o) && !t.full(k.Tenant)) {
		t.learn(now, &o, true)
	}
}

// stale says whether nothing was heard of the elected for so long that it does not matter
// how far the clocks differ.
func (t *Table) stale(now time.Time, o *segment.Election) bool {
	return t.settings.Idle > 0 && o.HeardTime < now.Add(-t.settings.Idle).UnixMilli()
}

func (t *Table) learn(now time.Time, o *segment.Election, learned bool) *entry {
	k := Key{o.Tenant, o.Cluster}
	e := t.entries[k]
	if e == nil {
		e = t.add(k)
	}
	switch e.current.Compare(o) {
	case -1:
		if e.current.Replica != o.Replica {
			if e.settling = now; actedOn(o) {
				e.settling = time.Time{}
			}
		}
		t.replace(e, *o, learned)
		// When that was by our clock nobody knows, so it is news.
		e.heard, e.renewed = now, now
		if t.stale(now, o) {
			e.heard = time.UnixMilli(o.HeardTime)
		}
	case 0:
		if o.HeardTime > e.current.HeardTime {
			e.heard, e.current.HeardTime = now, o.HeardTime
		}
	}
	return e
}

// actedOn says whether the forwarder that made a claim has come to act on it, by its own
// clock.
func actedOn(o *segment.Election) bool { return o.HeardTime-o.ClaimTime >= Settle.Milliseconds() }

// Opened says which log is written from now on, and what it says already, which may be less
// than the table knows: the rest is due. The elected was heard as of now, since nobody could
// be heard while this process did not run.
func (t *Table) Opened(now time.Time, log segment.LogID, has []segment.Election) {
	t.log = log
	said := map[*entry]segment.Election{}
	for i := range has {
		said[t.learn(now, &has[i], false)] = has[i]
	}
	t.due = t.due[:0]
	for _, e := range t.entries {
		e.due = false
		if said[e] != e.current {
			t.mark(e)
		}
	}
	slices.SortFunc(t.due, func(a, b *entry) int { return a.key.compare(b.key) })
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Tenant, o.Tenant), cmp.Compare(k.Cluster, o.Cluster))
}

// Due returns up to so many elections that the next block of the log has to have, and
// counts on it that it does: if it could not be written, Opened comes next.
func (t *Table) Due(most int) []segment.Election {
	n := min(most, len(t.due))
	if n == 0 {
		return nil
	}
	out := make([]segment.Election, n)
	for i, e := range t.due[:n] {
		out[i], e.due = e.current, false
	}
	t.due = slices.Delete(t.due, 0, n)
	return out
}

// Pending is how many elections are due.
func (t *Table) Pending() int { return len(t.due) }

// Claimed says whether a claim is due, which others should come to know at once.
func (t *Table) Claimed() bool {
	return slices.ContainsFunc(t.due, func(e *entry) bool { return e.current.HeardTime == e.current.ClaimTime })
}

// Forget drops the clusters of which nothing was heard for long, and returns them. The log
// is to leave them out of the state that it begins its next segment with.
func (t *Table) Forget(now time.Time) []Key {
	if t.settings.Idle == 0 {
		return nil
	}
	var out []Key
	for k, e := range t.entries {
		if now.Sub(e.heard) < t.settings.Idle || e.due {
			continue
		}
		out = append(out, k)
		delete(t.entries, k)
		if t.clusters[k.Tenant]--; t.clusters[k.Tenant] == 0 {
			delete(t.clusters, k.Tenant)
		}
	}
	slices.SortFunc(out, Key.compare)
	return out
}

// Changes returns what has changed since the last call.
func (t *Table) Changes() []Change {
	out := t.changes
	t.changes = nil
	return out
}
