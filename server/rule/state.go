package rule

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	cursorv1 "github.com/promgrpc/exporter/gen/go/promgrpc/cursor/v1"
)

// earliest and latest steps of a cursor, in ms: about 285,000 years around the epoch,
// within which all sums are exact.
const (
	earliest = -math.MaxInt64 / 1024
	latest   = math.MaxInt64 / 1024
)

// newState is before any step.
func newState(f *file) *state {
	s := &state{groups: make([]groupState, len(f.groups))}
	for i, g := range f.groups {
		s.groups[i].rules = make([]ruleState, len(g.rules))
		for j := range s.groups[i].rules {
			s.groups[i].rules[j] = ruleState{evaluated: never, alerts: alerts{}}
		}
	}
	return s
}

// encode returns the state as cursors have it: with hashes of the labels of alerts in
// place of what can be evaluated again.
func (s *state) encode(f *file) []byte {
	message := &cursorv1.RuleState{}
	for i := range s.groups {
		message.Groups = append(message.Groups, s.groups[i].encode(f.groups[i].interval))
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil // it has no strings, so it can be marshalled
	}
	return wire
}

func (s *groupState) encode(interval int64) *cursorv1.RuleGroupState {
	back := func(at int64) uint32 {
		if at == never {
			return 0
		}
		return uint32((s.next - at) / interval)
	}
	m := &cursorv1.RuleGroupState{Next: s.next}
	for i := range s.rules {
		m.Rules = append(m.Rules, back(s.rules[i].evaluated))
		for _, hash := range slices.Sorted(maps.Keys(s.rules[i].alerts)) {
			a := s.rules[i].alerts[hash]
			m.AlertRule = append(m.AlertRule, uint32(i))
			m.AlertLabels = append(m.AlertLabels, hash)
			m.AlertActive = append(m.AlertActive, back(a.active))
			m.AlertFired = append(m.AlertFired, back(a.fired))
			m.AlertKept = append(m.AlertKept, back(a.kept))
			m.AlertSeen = append(m.AlertSeen, back(a.seen))
		}
	}
	return m
}

var errState = errors.New("its state of the rules is damaged")

// decode reads what encode returned. Alerts have no labels, annotations and values yet,
// and records no series.
func decode(wire []byte, f *file, limits Limits) (*state, error) {
	var message cursorv1.RuleState
	if err := proto.Unmarshal(wire, &message); err != nil {
		return nil, errState
	}
	if len(message.GetGroups()) != len(f.groups) {
		return nil, fmt.Errorf("%w: it has %d groups of %d", errState, len(message.GetGroups()), len(f.groups))
	}
	s := newState(f)
	active := 0
	for i, g := range message.GetGroups() {
		if active += len(g.GetAlertRule()); active > limits.Alerts {
			return nil, fmt.Errorf("%w: it has more alerts than may be active", errState)
		}
		if err := s.groups[i].decode(g, f.groups[i]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *groupState) decode(m *cursorv1.RuleGroupState, g *group) error {
	s.next = m.GetNext()
	n := len(m.GetAlertRule())
	switch {
	case len(m.GetRules()) != len(g.rules), s.next < earliest, s.next > latest, s.next%g.interval != 0:
		return errState
	case len(m.GetAlertLabels()) != n, len(m.GetAlertActive()) != n, len(m.GetAlertFired()) != n, len(m.GetAlertKept()) != n, len(m.GetAlertSeen()) != n:
		return errState
	}
	at := func(back uint32) int64 {
		if back == 0 {
			return never
		}
		return s.next - int64(back)*g.interval
	}
	for i, back := range m.GetRules() {
		s.rules[i].evaluated = at(back)
	}
	for i, of := range m.GetAlertRule() {
		if int(of) >= len(g.rules) || !g.rules[of].alert {
			return errState
		}
		a := &alert{active: at(m.AlertActive[i]), fired: at(m.AlertFired[i]), kept: at(m.AlertKept[i]), seen: at(m.AlertSeen[i])}
		r, hash := &s.rules[of], m.AlertLabels[i]
		if !a.consistent(r.evaluated) || r.alerts[hash] != nil {
			return errState
		}
		r.alerts[hash] = a
	}
	return nil
}

// consistent says whether an alert may be as it is, when its rule was evaluated then.
func (a *alert) consistent(evaluated int64) bool {
	return a.active != never && a.active <= a.seen && a.seen <= evaluated &&
		(a.fired == never || a.active <= a.fired && a.fired <= evaluated) &&
		(a.kept == never) == (a.seen == evaluated) && (a.kept == never || a.fired != never && a.seen < a.kept)
}

// due is the group whose step is due next, and when that is. It is -1 if all have come to
// the end.
func (s *state) due(f *file, end int64) (group int, ms int64) {
	group = -1
	for i := range s.groups {
		when := s.groups[i].next + f.groups[i].delay
		if s.groups[i].next <= end && (group < 0 || when < ms) {
			group, ms = i, when
		}
	}
	return group, ms
}

// oldest is the first of the steps that the groups came to last.
func (s *state) oldest() int64 {
	oldest := int64(math.MaxInt64)
	for i := range s.groups {
		for j := range s.groups[i].rules {
			if at := s.groups[i].rules[j].evaluated; at != never {
				oldest = min(oldest, at)
			}
		}
	}
	return oldest
}

// came is when the last step of the state was due.
func (s *state) came(f *file) int64 {
	last := int64(math.MinInt64)
	for i := range s.groups {
		for j := range s.groups[i].rules {
			if s.groups[i].rules[j].evaluated != never {
				last = max(last, s.groups[i].next-f.groups[i].interval+f.groups[i].delay)
			}
		}
	}
	return last
}
