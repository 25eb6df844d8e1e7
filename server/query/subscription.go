package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/schedule"
)

// subscription is a call of Query. It belongs to one goroutine.
type subscription struct {
	*plan
	queries *Queries
	call    *call.Call
	ctx     context.Context
	sender  *call.Sender
	shared  *shared
	hold    *limit.Hold // of what is its own
	state   string      // replaying or following

	next int64 // step, ms
	// until is the last step of a stream that does not follow.
	until int64
	// evaluated is the step that the stream has come to, nil while there was none.
	evaluated *int64
	// before is the result of the step before the next, nil while there is none. known is
	// the same if it is shared.
	before *step
	known  *entry

	// chain is where the client's references are valid, 0 while it has none. introduced are
	// those of them that it was sent, where it is not all.
	chain      uint64
	introduced refset.Set
	// batch is how many steps are replayed at a time.
	batch int

	absence  schedule.Absence
	synced   bool
	age      call.Age
	lastSent time.Time
}

func (q *Queries) subscribe(c *call.Call, p *plan, sender *call.Sender) *subscription {
	s := &subscription{
		plan: p, queries: q, call: c, ctx: c.Context(), sender: sender, shared: q.enter(p), hold: c.Hold(),
		state: replaying, batch: 1, lastSent: time.Now(),
	}
	s.absence = schedule.Absence{Clock: q.Clock, Refuse: p.refuse, Tell: s.tellAway}
	q.metrics.subscriptions.WithLabelValues(s.state).Inc()
	return s
}

func (s *subscription) close() {
	s.leaveBefore()
	s.shared.leave()
	s.hold.Release()
	s.queries.metrics.subscriptions.WithLabelValues(s.state).Dec()
}

// cursor covers all steps that the stream has come to.
func (s *subscription) cursor() string {
	if s.evaluated == nil {
		return s.token
	}
	return s.at(*s.evaluated)
}

func (s *subscription) at(ms int64) string {
	return cursor.Query{Query: s.hash, Evaluated: ms}.String()
}

// run sends steps until the last, or, if it follows, until an error.
func (s *subscription) run() error {
	for err := s.begin(); err != nil; err = s.begin() {
		if err := s.absence.Again(s.ctx, err); err != nil {
			return err
		}
	}
	for {
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		due := s.due()
		switch {
		case s.isOver():
			return s.event(fieldEnd)
		case s.age.Reached():
			return refusal.ErrAged
		case s.next > due:
			if err := s.await(); err != nil {
				return err
			}
		default:
			if err := s.goOn(due); err != nil {
				return err
			}
		}
	}
}

// goOn sends the next step, or more of those that are due, unless groups are away that it
// needs.
func (s *subscription) goOn(due int64) error {
	var err error
	if due-s.next >= ringSteps*s.step || !s.follow && s.next < s.until {
		err = s.replay(due)
	} else {
		err = s.one()
	}
	if err != nil {
		return s.absence.Again(s.ctx, err)
	}
	return s.absence.Back()
}

// isOver says that all steps were sent that there will be.
func (s *subscription) isOver() bool {
	return s.end != nil && s.next > *s.end || !s.follow && s.next > s.until
}

// due is the last step that is due, and not after the end.
func (s *subscription) due() int64 {
	if !s.follow {
		return s.until
	}
	due, ok := s.queries.due(s.plan)
	if !ok {
		return math.MinInt64
	}
	if s.end != nil {
		due = min(due, floor(*s.end, s.step))
	}
	return due
}

// due is the last step that is due by now.
func (q *Queries) due(p *plan) (ms int64, ok bool) {
	passed, ok := q.Clock.Passed()
	return floor(passed-p.delay.Milliseconds(), p.step), ok
}

// floor is the last whole multiple of a step at or before a time.
func floor(ms, step int64) int64 {
	over := ms % step
	if over < 0 {
		over += step
	}
	return ms - over
}

// await waits until the next step is due.
func (s *subscription) await() error {
	if !s.synced {
		s.synced = true
		s.age = s.queries.Calls.NewAge()
		s.queries.metrics.subscriptions.WithLabelValues(s.state).Dec()
		s.state = following
		s.queries.metrics.subscriptions.WithLabelValues(s.state).Inc()
		if err := s.event(fieldSynced); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, max(s.age.Wait(s.quiet()), 0))
	defer cancel()
	err := s.absence.Wait(ctx, s.next+s.delay.Milliseconds())
	switch {
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case err != nil && ctx.Err() == nil:
		return err
	case err != nil:
		return s.beat()
	}
	due := time.Now()
	if err := s.one(); err != nil {
		return s.absence.Again(s.ctx, err)
	}
	s.queries.metrics.lag.Observe(time.Since(due).Seconds())
	return nil
}

// beat sends a heartbeat if nothing was sent for that long.
func (s *subscription) beat() error {
	if time.Since(s.lastSent) < s.heartbeat {
		return nil
	}
	return s.event(fieldHeartbeat)
}

// tellAway says which groups are away.
func (s *subscription) tellAway(groups []string) error {
	content, err := proto.Marshal(&metricsv1.Away{Groups: groups})
	if err != nil {
		return connect.NewError(connect.CodeInternal, err)
	}
	return s.send([][]byte{s.eventWith(fieldAway, content)})
}

// event sends a response with an event alone.
func (s *subscription) event(field protowire.Number) error {
	return s.send([][]byte{s.eventWith(field, nil)})
}

// eventWith is a response with an event alone.
func (s *subscription) eventWith(field protowire.Number, content []byte) []byte {
	at, ms := "", int64(0)
	if s.evaluated != nil {
		at, ms = s.cursor(), *s.evaluated
	}
	return eventOf(field, content, at, ms)
}

func (s *subscription) send(envelopes [][]byte) error {
	for _, envelope := range envelopes {
		if err := s.sender.SendComplete(envelope); err != nil {
			return err
		}
	}
	if len(envelopes) > 0 {
		s.lastSent = time.Now()
	}
	return nil
}

// while has a function do what may take long. Meanwhile it says which groups are away, and
// sends heartbeats.
func (s *subscription) while(work func(context.Context) error) error {
	return s.call.While(work, s.quiet, func() error {
		if err := s.absence.Meanwhile(); err != nil {
			return err
		}
		return s.beat()
	})
}

// quiet is how long nothing need be sent.
func (s *subscription) quiet() time.Duration { return max(s.heartbeat-time.Since(s.lastSent), 0) }

// came is called with what a step or a replay came to, which was sent.
func (s *subscription) came(n int, last *step, known *entry) {
	s.leaveBefore()
	s.before, s.known = last, known
	s.evaluated = &last.time
	s.next = last.time + s.step
	s.queries.metrics.steps.Add(float64(n))
	s.queries.metrics.late.Add(float64(last.late))
}

// leaveBefore gives up the step before.
func (s *subscription) leaveBefore() {
	if s.known != nil {
		s.known.release()
	}
	s.before, s.known = nil, nil
}

// one sends the next step, which is shared with others.
func (s *subscription) one() error {
	e, err := s.entry(s.next)
	if errors.Is(err, errBehind) {
		return s.replay(s.next)
	}
	if err != nil {
		return err
	}
	if err := s.send(s.envelopes(e)); err != nil {
		e.release()
		return err
	}
	s.came(1, &e.step, e)
	return s.account(0)
}

// entry returns a step that is shared. It has to be released.
func (s *subscription) entry(ms int64) (e *entry, err error) {
	err = s.while(func(ctx context.Context) (err error) {
		e, err = s.shared.at(ctx, ms, stake{s.viewer, s.call.Hold})
		return s.failed(ms, err)
	})
	if err != nil && e != nil { // The client is gone.
		e.release()
		e = nil
	}
	return e, err
}

// envelopes are the bytes of a step for this client.
func (s *subscription) envelopes(e *entry) [][]byte {
	f := form{references: s.references, first: s.before == nil, onChange: s.onChange}
	if s.references {
		chain := e.referenced()
		f.forget = s.chain != 0 && s.chain != chain
		f.known = s.chain == chain && s.known != nil
		if f.forget {
			s.introduced.Clear()
		}
		s.chain = chain
	}
	if s.references && s.onChange {
		return e.personal(f, s.before, s.known, &s.introduced)
	}
	return e.envelopes(f, s.before, s.known)
}

// failed is the error of an evaluation.
func (s *subscription) failed(ms int64, err error) error {
	var over *limit.Error
	var damage *seglog.DamageError
	var away *refusal.AwayError
	var told *connect.Error // by a group of a router
	switch {
	case errors.As(err, &away), errors.As(err, &told):
		return err
	case err == nil, errors.Is(err, errBehind), s.ctx.Err() != nil, errors.As(err, &over), errors.As(err, &damage), errors.Is(err, seglog.ErrClosed), errors.Is(err, seglog.ErrRemote):
		return err
	}
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the expression cannot be evaluated at %s: %w", stamp(ms), err))
}
