package rule

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// never is the time of what has not happened.
const never = math.MinInt64

// alert is one that is active: pending or firing. Times are those of steps, in ms.
type alert struct {
	// what the expression and the templates came to when it was seen
	labels, annotations labels.Labels
	value               float64
	// active is since when the expression holds, seen when it held last.
	active, seen int64
	// fired is since when it fires; never: it is pending.
	fired int64
	// kept is since when it is kept firing though the expression does not hold; never: it
	// does.
	kept int64
}

func (a *alert) state() queryv1.Alert_State {
	if a.fired == never {
		return queryv1.Alert_STATE_PENDING
	}
	return queryv1.Alert_STATE_FIRING
}

// change is an alert whose state has changed.
type change struct {
	alert           // as it is now
	previous, state queryv1.Alert_State
}

// alerts of a rule that are active, by the hash of their labels.
type alerts map[uint64]*alert

// step moves the alerts of a rule on to a step at which its expression came to seen, and
// returns those whose state has changed, sorted by labels. It is what Prometheus does, but
// that alerts that are resolved are forgotten.
func (of alerts) step(r *rule, at int64, seen alerts) []change {
	var changes []change
	for hash, a := range seen {
		if known := of[hash]; known != nil {
			known.value, known.annotations, known.seen, known.kept = a.value, a.annotations, at, never
			continue
		}
		of[hash] = a
	}
	for hash, a := range of {
		previous := a.state()
		switch {
		case a.active == at:
			previous = queryv1.Alert_STATE_INACTIVE
		case a.seen != at && !a.keeps(r, at):
			delete(of, hash)
			changes = append(changes, change{*a, previous, queryv1.Alert_STATE_INACTIVE})
			continue
		}
		if a.fired == never && at-a.active >= r.hold {
			a.fired = at
		}
		if a.state() != previous {
			changes = append(changes, change{*a, previous, a.state()})
		}
	}
	return sorted(changes)
}

// keeps says whether an alert whose expression does not hold is kept firing.
func (a *alert) keeps(r *rule, at int64) bool {
	if a.fired == never || r.keep == 0 {
		return false
	}
	if a.kept == never {
		a.kept = at
	}
	return at-a.kept < r.keep
}

// inactive is how all alerts would become inactive, sorted by labels.
func (of alerts) inactive() []change {
	changes := make([]change, 0, len(of))
	for _, a := range of {
		changes = append(changes, change{*a, a.state(), queryv1.Alert_STATE_INACTIVE})
	}
	return sorted(changes)
}

func sorted(changes []change) []change {
	slices.SortFunc(changes, func(a, b change) int { return labels.Compare(a.labels, b.labels) })
	return changes
}
