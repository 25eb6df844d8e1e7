package schedule

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/refusal"
)

// gone is a source some of whose groups are away.
type gone struct {
	Source
	away []string
}

func (g *gone) Away() []string { return g.away }

// While something goes on, a stream is told of groups that go away, and of none that it was
// told of otherwise: that one is silent, or did not answer.
func TestMeanwhile(t *testing.T) {
	var told [][]string
	from := &gone{}
	a := Absence{Clock: NewClock(from), Tell: func(groups []string) error {
		told = append(told, groups)
		return nil
	}}
	for _, away := range [][]string{nil, {"b"}, {"b"}, nil, {"a", "b"}, {"a"}} {
		from.away = away
		require.NoError(t, a.Meanwhile())
	}
	require.Equal(t, [][]string{{"b"}, {"a", "b"}}, told)
	from.away = nil
	require.NoError(t, a.Back())
	require.Equal(t, [][]string{{"b"}, {"a", "b"}, nil}, told)
	a.Refuse = true
	require.NoError(t, a.Meanwhile())
	from.away = []string{"c"}
	var away *refusal.AwayError
	require.ErrorAs(t, a.Meanwhile(), &away)
	require.Equal(t, from.away, away.Groups)
}
