package simulation

import "time"

// event is something that happens at a time.
type event struct {
	at    time.Duration
	order int // in which events of one time happen
	run   func()
}

// queue has events that are to happen, as a heap.
type queue struct {
	now    time.Duration
	order  int
	events []event
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.order < other.order
}

// after runs something after a while.
func (q *queue) after(d time.Duration, run func()) {
	q.order++
	q.events = append(q.events, event{q.now + max(d, 0), q.order, run})
	i := len(q.events) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !q.events[i].before(&q.events[parent]) {
			return
		}
		q.events[i], q.events[parent] = q.events[parent], q.events[i]
		i = parent
	}
}

// next takes out the event that is due next, none after a time.
func (q *queue) next(until time.Duration) (event, bool) {
	if len(q.events) == 0 || q.events[0].at > until {
		return event{}, false
	}
	first, last := q.events[0], len(q.events)-1
	q.events[0] = q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if q.events[child].before(&q.events[least]) {
				least = child
			}
		}
		if least == i {
			break
		}
		q.events[i], q.events[least] = q.events[least], q.events[i]
		i = least
	}
	q.now = first.at
	return first, true
}
