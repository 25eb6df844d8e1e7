package torture

import (
	"fmt"
	"slices"
)

// lives is what a client with a cursor file printed, which is killed and started again.
type lives struct {
	kept history
	// severalLogs says that a series comes from several, and what is new in one may come
	// before what is old in another.
	severalLogs bool
	// uncertain are the series of which a killed life printed what may come again. A life
	// that ends well prints all of it before what is new of that series; but what it has
	// printed of one series says nothing of others, which may be in another group's log.
	uncertain map[string]bool
	again     int // entries that were printed again after a kill
}

func newLives(severalLogs bool) lives {
	return lives{kept: history{}, severalLogs: severalLogs, uncertain: map[string]bool{}}
}

// merge joins what two lives received of a series.
func (l *lives) merge(before, after []entry) (merged []entry, again int) {
	if l.severalLogs {
		return mergeLogs(before, after)
	}
	return mergeLives(before, after)
}

// add adds what a life printed that has ended, and says what of it must not have come again.
func (l *lives) add(life history, killed bool) (wrong []string) {
	for name, after := range life {
		before := l.kept[name]
		merged, again := l.merge(before, after)
		l.kept[name] = merged
		if l.again += again; again > 0 && !l.uncertain[name] {
			wrong = append(wrong, fmt.Sprintf("%d entries of %s came again, though it had ended well", again, name))
		}
		if len(merged) > len(before) && !l.severalLogs {
			delete(l.uncertain, name)
		}
	}
	if killed {
		for name := range l.kept {
			l.uncertain[name] = true
		}
	}
	return wrong
}

// mergeLives joins what two lives received of a series. The second may begin
// with entries at the end of the first, or anywhere in it if it ends there too.
func mergeLives(before, after []entry) (merged []entry, again int) {
	if len(after) == 0 {
		return before, 0
	}
	for i, e := range before {
		if e != after[0] {
			continue
		}
		n := min(len(before)-i, len(after))
		if slices.Equal(before[i:i+n], after[:n]) {
			return append(before[:len(before):len(before)], after[n:]...), n
		}
	}
	return append(before[:len(before):len(before)], after...), 0
}

// mergeLogs is mergeLives where a series comes from several logs, which the
// second life may have had in another order.
func mergeLogs(before, after []entry) (merged []entry, again int) {
	counts := map[entry]int{}
	for _, e := range before {
		counts[e]++
	}
	merged = before[:len(before):len(before)]
	for _, e := range after {
		if counts[e] > 0 {
			counts[e]--
			again++
			continue
		}
		merged = append(merged, e)
	}
	return merged, again
}
