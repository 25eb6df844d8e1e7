package rule

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/schedule"
)

// subscription is a call of EvaluateRules. It belongs to one goroutine.
type subscription struct {
	evaluator
	rules      *Rules
	call       *call.Call
	sender     *call.Sender
	restricted bool // the caller may see some series only
	hold       *limit.Hold
	fileBytes  int64 // that the file takes of it

	follow    bool
	heartbeat time.Duration
	since     *int64
	end       int64 // of steps, ms
	until     int64 // of when steps are due, if it does not follow

	state     *state // nil until it has begun
	resumes   bool   // the state is a cursor's
	active    bool   // the alerts that are active there are told first
	evaluated int64  // last step; never: there was none yet
	cursor    string // that covers it
	told      string // the last one that the client was sent
	alerts    int    // that are active
	absence   schedule.Absence
	synced    bool
	age       call.Age
	lastSent  time.Time
}

func newSubscription(r *Rules, c *call.Call, f *file, req *queryv1.EvaluateRulesRequest) (*subscription, error) {
	s := &subscription{
		evaluator: evaluator{engine: r.Engine, limits: r.Limits, file: f},
		rules:     r, call: c, follow: req.GetFollow(), heartbeat: call.HeartbeatInterval(req.GetHeartbeatInterval()), active: req.GetActive(),
		end: math.MaxInt64, until: math.MaxInt64, evaluated: never, lastSent: time.Now(),
	}
	s.grow = func(n int64) error { return s.hold.Grow(n) }
	s.absence = schedule.Absence{Clock: r.Clock, Refuse: req.GetWhenAway() == metricsv1.WhenAway_WHEN_AWAY_REFUSE, Tell: s.tellAway}
	if req.GetEnd() != nil {
		ms, err := schedule.End("end", req.GetEnd())
		if err != nil {
			return nil, refusal.Invalid(err.Error())
		}
		s.end = ms
	}
	switch start := req.GetStart().(type) {
	case *queryv1.EvaluateRulesRequest_Since:
		ms, err := schedule.Start("since", start.Since)
		if err != nil {
			return nil, refusal.Invalid(err.Error())
		}
		s.since = &ms
	case *queryv1.EvaluateRulesRequest_Cursor:
		return s, s.resume(start.Cursor)
	}
	return s, nil
}

// resume takes the state of a cursor.
func (s *subscription) resume(token string) error {
	c, err := cursor.ParseQuery(token)
	switch {
	case err != nil:
		return refusal.Invalid("cursor: " + err.Error())
	case c.Query != s.file.hash || len(c.State) == 0:
		return refusal.Invalid("cursor: it is of other rules, or of another interval, delay, external_labels or external_url")
	}
	if s.state, err = decode(c.State, s.file, s.limits); err != nil {
		return refusal.Invalid("cursor: " + err.Error())
	}
	s.resumes, s.evaluated, s.cursor, s.told = true, c.Evaluated, token, token
	return nil
}

// run evaluates steps until the last, or, if it follows, until an error.
func (s *subscription) run() error {
	defer s.count(0)
	for err := s.begin(); err != nil; err = s.begin() {
		if err := s.absence.Again(s.call.Context(), err); err != nil {
			return err
		}
	}
	for {
		if err := s.call.Context().Err(); err != nil {
			return context.Cause(s.call.Context())
		}
		g, due := s.state.due(s.file, s.end)
		if g < 0 || due > s.until {
			return s.event(&queryv1.EvaluateRulesResponse{Event: &queryv1.EvaluateRulesResponse_End{End: &metricsv1.End{}}})
		}
		if s.age.Reached() {
			return refusal.ErrAged
		}
		if passed, ok := s.rules.Clock.Passed(); !ok || passed < due {
			if err := s.await(due); err != nil {
				return err
			}
			continue
		}
		if err := s.goOn(g); err != nil {
			return err
		}
	}
}

// goOn evaluates the next step of a group, unless groups are away that it needs.
func (s *subscription) goOn(g int) error {
	if err := s.step(g); err != nil {
		return s.absence.Again(s.call.Context(), err)
	}
	return s.absence.Back()
}

// errNoTime is of a server that does not know yet what is due.
var errNoTime = errors.New("it is not known here yet which steps are due")

// begin finds the first steps.
func (s *subscription) begin() error {
	if s.resumes {
		return s.restore()
	}
	if err := s.reach(math.MinInt64, errNoTime); err != nil {
		return err
	}
	passed, ok := s.rules.Clock.Passed()
	if !ok {
		return refusal.Unavailable(errNoTime, fitting(s.told))
	}
	s.setUntil(passed, ok)
	s.state = newState(s.file)
	for i, g := range s.file.groups {
		next := schedule.Align(passed-g.delay-g.interval+1, g.interval)
		if s.since != nil {
			next = schedule.Align(max(*s.since, min(s.rules.Clock.Began(), latest)-g.delay), g.interval)
		}
		s.state.groups[i].next = next
	}
	return nil
}

// reach waits until a time has passed, as long as a replica may lag, and says otherwise
// why the client has to go on elsewhere.
func (s *subscription) reach(ms int64, otherwise error) error {
	late := refusal.Unavailable(otherwise, fitting(s.told))
	return s.absence.Reach(s.while, ms, s.rules.CursorWait, late)
}

// restore waits until this replica has come to where the cursor is, and evaluates again
// what that does not have.
func (s *subscription) restore() error {
	if err := s.reach(s.state.came(s.file), errors.New("the logs have not come here to where the cursor is")); err != nil {
		return err
	}
	s.setUntil(s.rules.Clock.Passed())
	if !s.isRetained() {
		return s.tooOld()
	}
	err := s.while(func(ctx context.Context) error { return s.evaluator.restore(ctx, s.state) })
	if errors.Is(err, errGone) {
		return refusal.OutOfRange(err, fitting(s.token()))
	}
	if err != nil {
		return err
	}
	if err := s.account(); err != nil || !s.active {
		return err
	}
	return s.tellActive()
}

// tellActive sends the alerts that are active.
func (s *subscription) tellActive() error {
	for g := range s.state.groups {
		out := &outcome{}
		for i := range s.state.groups[g].rules {
			for _, c := range s.state.groups[g].rules[i].alerts.inactive() {
				c.state = c.previous
				out.alerts = append(out.alerts, ruleChange{s.file.groups[g].rules[i], c})
			}
		}
		if out.empty() {
			continue
		}
		if err := s.sendAll(s.responses(g, s.evaluated, out)); err != nil {
			return err
		}
	}
	return nil
}

// isRetained says whether what the steps of the state and those after them read is there.
func (s *subscription) isRetained() bool {
	for i, g := range s.file.groups {
		if s.state.groups[i].next < s.rules.Clock.Retained(g.delay) {
			return false
		}
	}
	return s.state.oldest() >= s.rules.Clock.Lost()
}

// tooOld is the error of a cursor of steps of which samples may be missing by now. It has
// one of the first steps after that, before which no alert is active.
func (s *subscription) tooOld() error {
	s.state = newState(s.file)
	began := int64(math.MaxInt64)
	for i, g := range s.file.groups {
		retained := s.rules.Clock.Retained(g.delay)
		s.state.groups[i].next = schedule.Align(retained, g.interval)
		began = min(began, retained)
	}
	return refusal.OutOfRange(fmt.Errorf("what was there at its step is not retained any more, which begins at %s",
		time.UnixMilli(began).UTC().Format(time.RFC3339Nano)), s.token())
}

// setUntil ends a stream that does not follow with what is due by now.
func (s *subscription) setUntil(passed int64, ok bool) {
	switch {
	case s.follow:
	case ok:
		s.until = passed
	default:
		s.until = math.MinInt64
	}
}

// await waits until a time has passed, or there is something to send meanwhile.
func (s *subscription) await(ms int64) error {
	if !s.synced && s.state != nil {
		s.synced = true
		s.age = s.rules.Calls.NewAge()
		err := s.event(&queryv1.EvaluateRulesResponse{Event: &queryv1.EvaluateRulesResponse_Synced{Synced: &metricsv1.Synced{}}})
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(s.call.Context(), max(s.age.Wait(s.quiet()), 0))
	defer cancel()
	err := s.absence.Wait(ctx, ms)
	switch {
	case s.call.Context().Err() != nil:
		return context.Cause(s.call.Context())
	case err != nil && ctx.Err() == nil:
		return err
	case err != nil:
		return s.beat()
	}
	return nil
}

// step evaluates the next step of a group, and sends what it came to.
func (s *subscription) step(g int) error {
	at := s.state.groups[g].next
	var out *outcome
	err := s.while(func(ctx context.Context) (err error) {
		out, err = s.evaluator.step(ctx, s.state, g)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.account(); err != nil {
		return err
	}
	token := s.token()
	if len(token) > maxCursor {
		return limit.Over(FlagAlerts, "the cursor of %d active alerts has %d bytes, more than %d", s.alerts, len(token), maxCursor)
	}
	s.evaluated, s.cursor = at, token
	s.rules.metrics.steps.Inc()
	s.rules.metrics.failures.Add(float64(len(out.failures)))
	if out.empty() {
		return s.beat()
	}
	return s.sendAll(s.responses(g, at, out))
}

func (s *subscription) sendAll(responses []*queryv1.EvaluateRulesResponse) error {
	for _, response := range responses {
		if err := s.send(response); err != nil {
			return err
		}
	}
	return nil
}

// maxCursor is how long a cursor may be that a request has.
const maxCursor = 262144

// maxFarewell is how long a cursor in an error may be: as long as those of GetMetrics.
const maxFarewell = 4096

// fitting is a cursor for an error, if it fits into headers.
func fitting(cursor string) string {
	if len(cursor) > maxFarewell {
		return ""
	}
	return cursor
}

// token is the cursor of the state.
func (s *subscription) token() string {
	at := s.evaluated
	for i := range s.state.groups {
		if last := s.state.groups[i].next - s.file.groups[i].interval; s.evaluated == never {
			at = max(at, last)
		}
	}
	return cursor.Query{Query: s.file.hash, Evaluated: at, State: s.state.encode(s.file)}.String()
}

// account holds what the state takes in memory.
func (s *subscription) account() error {
	alerts := 0
	for i := range s.state.groups {
		for j := range s.state.groups[i].rules {
			alerts += len(s.state.groups[i].rules[j].alerts)
		}
	}
	s.count(alerts)
	if err := s.hold.Resize(s.fileBytes + s.state.bytes()); err != nil {
		return fmt.Errorf("state of the rules: %w", err)
	}
	return nil
}

// count counts the alerts that are active.
func (s *subscription) count(alerts int) {
	s.rules.metrics.alerts.Add(float64(alerts - s.alerts))
	s.alerts = alerts
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

// beat sends a heartbeat if nothing was sent for that long.
func (s *subscription) beat() error {
	if time.Since(s.lastSent) < s.heartbeat {
		return nil
	}
	return s.event(&queryv1.EvaluateRulesResponse{Event: &queryv1.EvaluateRulesResponse_Heartbeat{Heartbeat: &metricsv1.Heartbeat{}}})
}

// tellAway says which groups are away.
func (s *subscription) tellAway(groups []string) error {
	return s.event(&queryv1.EvaluateRulesResponse{Event: &queryv1.EvaluateRulesResponse_Away{Away: &metricsv1.Away{Groups: groups}}})
}

// event sends a response with an event alone.
func (s *subscription) event(e *queryv1.EvaluateRulesResponse) error {
	s.at(e)
	return s.send(e)
}

// at says where the stream is.
func (s *subscription) at(r *queryv1.EvaluateRulesResponse) {
	if s.cursor == "" {
		return
	}
	r.Cursor, r.Evaluated = s.cursor, timestamppb.New(time.UnixMilli(s.evaluated))
}

func (s *subscription) send(r *queryv1.EvaluateRulesResponse) error {
	wire, err := envelope(r)
	if err != nil {
		return connect.NewError(connect.CodeInternal, err)
	}
	if err := s.sender.Send(wire); err != nil {
		return err
	}
	s.lastSent = time.Now()
	if r.GetCursor() != "" {
		s.told = r.GetCursor()
	}
	return nil
}
