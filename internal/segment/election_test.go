package segment

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A frame without elections has no byte of them.
func TestNoElections(t *testing.T) {
	size := func(elections []Election) int {
		e := NewEncoder()
		e.StartSegment(nil, Header{FirstSequence: 1})
		_, err := e.AppendKeyframe(nil, &Keyframe{NextRef: 1, Last: true}, 0, 0)
		require.NoError(t, err)
		b, err := e.AppendBlock(nil, &Block{Sequence: 1, Elections: elections}, 0)
		require.NoError(t, err)
		return len(b)
	}
	require.Equal(t, FrameHeaderSize+blockSections-len(optional), size(nil))
	require.Equal(t, size(nil), size([]Election{}))
	require.Greater(t, size([]Election{{Term: 1, LogID: LogID{1}}}), size(nil))
}

func TestElectionBounds(t *testing.T) {
	good := Election{Term: 1, LogID: LogID{1}}
	long := strings.Repeat("x", MaxElectionText+1)
	for name, change := range map[string]func(*Election){
		"tenant":             func(e *Election) { e.Tenant = long },
		"cluster":            func(e *Election) { e.Cluster = long },
		"replica":            func(e *Election) { e.Replica = long },
		"not UTF-8, tenant":  func(e *Election) { e.Tenant = "\xff" },
		"not UTF-8, cluster": func(e *Election) { e.Cluster = "\xff" },
		"not UTF-8, replica": func(e *Election) { e.Replica = "\xff" },
		"no term":            func(e *Election) { e.Term = 0 },
		"term":               func(e *Election) { e.Term = MaxTerm + 1 },
		"claim":              func(e *Election) { e.ClaimTime = MaxElectionTime + 1 },
		"heard":              func(e *Election) { e.HeardTime = -MaxElectionTime - 1 },
		"no log":             func(e *Election) { e.LogID = LogID{} },
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			require.NoError(t, bad.Check())
			change(&bad)
			require.Error(t, bad.Check())
			_, err := appendElections(nil, []Election{good, bad})
			require.Error(t, err)
		})
	}
	full := good
	full.Tenant, full.Cluster, full.Replica = long[1:], long[1:], long[1:]
	full.Term, full.ClaimTime, full.HeardTime = MaxTerm, -MaxElectionTime, MaxElectionTime
	b, err := appendElections(nil, []Election{full})
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), ElectionBound)
}

func TestElectionsMerge(t *testing.T) {
	a := Election{Replica: "a", Term: 1, ClaimTime: 5, LogID: LogID{2}, HeardTime: 9}
	for name, other := range map[string]Election{
		"higher term": {Replica: "b", Term: 2, ClaimTime: 6, LogID: LogID{3}},
		"earlier":     {Replica: "b", Term: 1, ClaimTime: 4, LogID: LogID{3}},
		"lower log":   {Replica: "b", Term: 1, ClaimTime: 5, LogID: LogID{1}},
		"heard later": {Replica: "a", Term: 1, ClaimTime: 5, LogID: LogID{2}, HeardTime: 10},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, other, a.Merge(other))
			require.Equal(t, other, other.Merge(a))
		})
	}
}
