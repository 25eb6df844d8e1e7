package rule

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	cursorv1 "github.com/promgrpc/exporter/gen/go/promgrpc/cursor/v1"
	"github.com/promgrpc/exporter/internal/cursor"
)

func testFile() *file {
	return &file{groups: []*group{
		{name: "a", interval: 60000, rules: []*rule{{name: "A", alert: true}, {name: "r"}, {name: "B", alert: true}}},
		{name: "b", interval: 1000, rules: []*rule{{name: "C", alert: true}}},
	}}
}

func testState() *state {
	s := newState(testFile())
	s.groups[0].next, s.groups[1].next = 600000, -5000
	s.groups[0].rules[0].evaluated = 540000
	s.groups[0].rules[0].alerts = alerts{
		1:              {active: 60000, seen: 540000, fired: 120000, kept: never},
		math.MaxUint64: {active: 540000, seen: 540000, fired: never, kept: never},
	}
	s.groups[0].rules[2].evaluated = 540000
	s.groups[0].rules[2].alerts = alerts{1: {active: 0, seen: 420000, fired: 0, kept: 480000}}
	return s
}

func TestStateOfCursor(t *testing.T) {
	s := testState()
	got, err := decode(s.encode(testFile()), testFile(), DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, s, got)
	_, err = decode(s.encode(testFile()), testFile(), Limits{Alerts: 2})
	require.ErrorContains(t, err, "more alerts than may be active")
}

// The longest state of as many alerts as there may be fits into a cursor that a request
// may have.
func TestMaxAlertsFit(t *testing.T) {
	f := &file{groups: []*group{{interval: 1000, rules: make([]*rule, DefaultLimits().Rules)}}}
	s := newState(f)
	// What is counted in steps has at most five bytes, so there are none longer than these.
	s.groups[0].next = (math.MaxUint32 - 1) * 1000
	for i := range s.groups[0].rules {
		f.groups[0].rules[i] = &rule{alert: true}
		s.groups[0].rules[i].evaluated = 0
	}
	last := s.groups[0].rules[len(s.groups[0].rules)-1].alerts
	for i := range uint64(MaxAlerts) {
		last[i] = &alert{}
	}
	token := cursor.Query{Query: math.MaxUint64, Evaluated: math.MinInt64, State: s.encode(f)}.String()
	require.LessOrEqual(t, len(token), maxCursor)
}

func TestDamagedState(t *testing.T) {
	for name, damage := range map[string]func(*cursorv1.RuleGroupState){
		"next beyond all":           func(g *cursorv1.RuleGroupState) { g.Next = math.MaxInt64 - math.MaxInt64%60000 },
		"next not on a step":        func(g *cursorv1.RuleGroupState) { g.Next++ },
		"too few rules":             func(g *cursorv1.RuleGroupState) { g.Rules = g.Rules[1:] },
		"too few labels":            func(g *cursorv1.RuleGroupState) { g.AlertLabels = g.AlertLabels[1:] },
		"too few times":             func(g *cursorv1.RuleGroupState) { g.AlertKept = g.AlertKept[1:] },
		"alert of no rule":          func(g *cursorv1.RuleGroupState) { g.AlertRule[0] = 9 },
		"alert of a record":         func(g *cursorv1.RuleGroupState) { g.AlertRule[0] = 1 },
		"the same twice":            func(g *cursorv1.RuleGroupState) { g.AlertLabels[1] = g.AlertLabels[0] },
		"never active":              func(g *cursorv1.RuleGroupState) { g.AlertActive[0] = 0 },
		"never seen":                func(g *cursorv1.RuleGroupState) { g.AlertSeen[0] = 0 },
		"seen before it was":        func(g *cursorv1.RuleGroupState) { g.AlertSeen[0] = 100 },
		"kept though it is seen":    func(g *cursorv1.RuleGroupState) { g.AlertKept[0] = 1 },
		"kept before it was seen":   func(g *cursorv1.RuleGroupState) { g.AlertKept[2] = 9 },
		"kept though it is pending": func(g *cursorv1.RuleGroupState) { g.AlertFired[2] = 0 },
		"fired before it was":       func(g *cursorv1.RuleGroupState) { g.AlertFired[0] = 100 },
		"of a rule never evaluated": func(g *cursorv1.RuleGroupState) { g.Rules[0] = 0 },
	} {
		f := testFile()
		var m cursorv1.RuleState
		require.NoError(t, proto.Unmarshal(testState().encode(f), &m))
		damage(m.GetGroups()[0])
		wire, err := proto.Marshal(&m)
		require.NoError(t, err)
		_, err = decode(wire, f, DefaultLimits())
		require.ErrorIs(t, err, errState, name)
	}
	for _, wire := range [][]byte{{}, {0xff}, testState().encode(testFile())[:20]} {
		_, err := decode(wire, testFile(), DefaultLimits())
		require.ErrorIs(t, err, errState)
	}
}

func FuzzState(f *testing.F) {
	f.Add(testState().encode(testFile()))
	f.Add(newState(testFile()).encode(testFile()))
	f.Fuzz(func(t *testing.T, wire []byte) {
		s, err := decode(wire, testFile(), DefaultLimits())
		if err != nil {
			return
		}
		s.came(testFile())
		for i := range s.groups {
			s.groups[i].toRestore()
		}
		again, err := decode(s.encode(testFile()), testFile(), DefaultLimits())
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}
