package merge

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/protoscan"
)

// moved knows which series come twice in the snapshots of several groups: for a while after
// an instant at which series have moved, the group that had them before has them still, as
// series that are live. The snapshots come one after the other then, first those of groups
// to which series move, and what came in one is left out of the next. Of a series that has
// moved, all samples from the instant on are in its new group, so what is left out is older.
//
// It keeps a hash of the labels of each series that has moved, which counts as the
// stream's state.
type moved struct {
	placement *placement.Placement
	before    int64 // ms; the last time at which none of the series had moved yet
	order     []string
	hold      *limit.Hold

	mu   sync.Mutex
	seen map[uint64]string // the group, by the hash of the labels
	over map[string]chan struct{}
}

// seenBytes is what a map takes for an entry, while it grows.
const seenBytes = 64

// newMoved returns nil where no series has moved within twice the time for which one is live:
// a sample from before the instant may come for so long after it, and the series is live in
// its old group for as long again.
func newMoved(p *placement.Placement, now time.Time, staleness time.Duration, hold *limit.Hold) *moved {
	if p == nil {
		return nil
	}
	epochs := p.Epochs()
	first := slices.IndexFunc(epochs, func(e placement.Epoch) bool {
		return e.From > now.Add(-2*staleness).UnixMilli() && e.From <= now.UnixMilli()
	})
	if first < 1 {
		return nil
	}
	m := &moved{placement: p, before: epochs[first].From - 1, hold: hold, seen: map[uint64]string{}, over: map[string]chan struct{}{}}
	// From the last epoch back: who is in it has all that moved at its beginning.
	for i := p.EpochAt(now.UnixMilli()); i >= 0; i-- {
		for _, name := range epochs[i].Groups {
			if isNew := i > 0 && !slices.Contains(epochs[i-1].Groups, name); (isNew || i == 0) && !slices.Contains(m.order, name) {
				m.order = append(m.order, name)
			}
		}
	}
	last := p.EpochAt(now.UnixMilli())
	slices.SortStableFunc(m.order, func(a, b string) int {
		return rank(epochs[last].Groups, a) - rank(epochs[last].Groups, b)
	})
	for _, name := range m.order {
		m.over[name] = make(chan struct{})
	}
	return m
}

// rank puts groups that have no series any more after those that have.
func rank(groups []string, name string) int {
	if slices.Contains(groups, name) {
		return 0
	}
	return 1
}

// earlier are the channels that are closed once the snapshots are over that come before that
// of a group.
func (m *moved) earlier(name string) (over []<-chan struct{}) {
	for _, other := range m.order {
		if other == name {
			break
		}
		over = append(over, m.over[other])
	}
	return over
}

// passed says that the snapshot of a group is over, or is not waited for.
func (m *moved) passed(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	over, ok := m.over[name]
	if !ok {
		return
	}
	select {
	case <-over:
	default:
		close(over)
	}
}

var errTooManyMoved = errors.New("series have just moved to another group, and there is no memory to tell which")

// filter leaves out of a response of a snapshot what came in that of another group.
func (m *moved) filter(group string, r response) ([]byte, error) {
	over, ok := m.over[group]
	if !ok {
		return r.series, nil
	}
	select {
	case <-over:
		return r.series, nil
	default:
	}
	series, err := m.within(group, r.series)
	if isPastSnapshot(r) {
		m.passed(group)
	}
	return series, err
}

func (m *moved) within(group string, series []byte) (kept []byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := true
	done := 0
	eachSeries(series, func(field, message []byte) bool {
		left := false
		if hash, ok := m.hashOf(message); ok {
			other, seen := m.seen[hash]
			left = seen && other != group
			if !seen {
				m.seen[hash] = group
			}
		}
		if left && all {
			all, kept = false, append([]byte{}, series[:done]...)
		}
		done += len(field)
		if !left && !all {
			kept = append(kept, field...)
		}
		return true
	})
	if err := m.hold.Resize(seenBytes * int64(len(m.seen))); err != nil {
		return nil, errors.Join(errTooManyMoved, err)
	}
	if all {
		return series, nil
	}
	return kept, nil
}

// isPastSnapshot says whether a response is the last with series of a snapshot: its cursor
// is not within one, or it is the end.
func isPastSnapshot(r response) bool {
	if r.event == fieldEnd || r.event == fieldSynced {
		return true
	}
	if len(r.cursor) == 0 {
		return false
	}
	at, err := placeOf(string(r.cursor))
	return err != nil || !slices.ContainsFunc(at, isWithinSnapshot)
}

// hashOf hashes the labels of a series that may have moved. Where its labels do not say
// whether it has, each may.
func (m *moved) hashOf(message []byte) (hash uint64, ok bool) {
	start := message
	names := m.placement.Labels()
	values := make([]string, len(names))
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 || number != 1 || kind != protowire.BytesType {
			break
		}
		label, size := protowire.ConsumeBytes(message[n:])
		if size < 0 {
			break
		}
		name, value, _ := protoscan.Pair(label)
		if i := slices.Index(names, string(name)); i >= 0 {
			values[i] = string(value)
		}
		message = message[n+size:]
	}
	labels := start[:len(start)-len(message)]
	if len(labels) == 0 {
		return 0, false
	}
	if m.placement.Spread() == placement.ByLabels {
		key := placement.KeyOf(values...)
		if !m.placement.Moves(key, m.placement.EpochAt(m.before)) {
			return 0, false
		}
	}
	return xxhash.Sum64(labels), true
}
