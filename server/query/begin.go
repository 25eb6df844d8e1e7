package query

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/schedule"
)

// errNoTime is of a server that does not know yet what is due.
var errNoTime = errors.New("a log has not been copied yet, so it is not known which steps are due")

// begin finds the first step, and, if the stream does not follow, the last.
func (s *subscription) begin() error {
	if err := s.reach(math.MinInt64, errNoTime); err != nil {
		return err
	}
	switch {
	case s.after != nil:
		if err := s.resume(*s.after); err != nil {
			return err
		}
	case s.since != nil:
		// Nothing can have arrived before.
		s.next = max(*s.since, schedule.Align(s.queries.Clock.Began()-s.delay.Milliseconds(), s.step))
	}
	due, ok := s.queries.due(s.plan)
	if !ok {
		return refusal.Unavailable(errNoTime, s.cursor())
	}
	if s.after == nil && s.since == nil {
		s.next = due
	}
	s.until = due
	if s.end != nil {
		s.until = min(s.until, floor(*s.end, s.step))
	}
	return nil
}

// reach waits until a time has passed, as long as a replica may lag, and says otherwise
// why the client has to go on elsewhere.
func (s *subscription) reach(ms int64, otherwise error) error {
	late := refusal.Unavailable(otherwise, s.cursor())
	return s.absence.Reach(s.while, ms, s.queries.CursorWait, late)
}

// resume goes on after the step of a cursor, whose result is computed again, since what has
// changed since then, and what is gone, is said of the next.
func (s *subscription) resume(after int64) error {
	notDue := fmt.Errorf("the cursor is at %s, a step that is not due here yet", stamp(after))
	if err := s.reach(after+s.delay.Milliseconds(), notDue); err != nil {
		return err
	}
	if lost := s.queries.Clock.Retained(s.delay.Milliseconds()); after < lost {
		oldest := s.at(schedule.Align(lost, s.step))
		return refusal.OutOfRange(fmt.Errorf("what was there at its step is not retained any more, which begins at %s", stamp(lost)), oldest)
	}
	s.evaluated, s.next = &after, after+s.step
	e, err := s.entry(after)
	if errors.Is(err, errBehind) {
		var all []step
		if all, err = s.evaluate(after, 1); err == nil {
			s.before = &all[0]
		}
		return err
	}
	if err != nil {
		return err
	}
	s.before, s.known = &e.step, e
	return nil
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }
