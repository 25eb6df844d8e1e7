package merge

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
)

// logsOf is a group of which only the logs are known.
type logsOf struct {
	name string
	ids  map[segment.LogID]bool
}

func (g logsOf) Name() string                         { return g.name }
func (g logsOf) Logs() (map[segment.LogID]bool, bool) { return g.ids, true }
func (g logsOf) Away() bool                           { return false }
func (g logsOf) Servers() int                         { return 1 }
func (g logsOf) Refresh(context.Context)              {}
func (g logsOf) Open(context.Context, string, proto.Message) (Upstream, error) {
	return nil, errors.ErrUnsupported
}

func at(n byte) cursor.Position { return cursor.Position{Log: segment.LogID{n}, Sequence: uint64(n)} }

func TestDivideAndCompose(t *testing.T) {
	groups := []Group{
		logsOf{"a", map[segment.LogID]bool{{1}: true, {4}: true}},
		logsOf{"b", map[segment.LogID]bool{{2}: true}},
	}
	all := []cursor.Position{at(1), at(2), at(3), at(4)}
	of, left := divide(all, groups)
	require.Equal(t, map[string][]cursor.Position{"a": {at(1), at(4)}, "b": {at(2)}}, of)
	require.Equal(t, []cursor.Position{at(3)}, left)
	c, err := compose(new(int64(7)), append(append(of["b"], left...), of["a"]...))
	require.NoError(t, err)
	require.Equal(t, &cursor.Cursor{Positions: all, Since: new(int64(7))}, c)
	parsed, err := cursor.Parse(c.String())
	require.NoError(t, err)
	require.Equal(t, c, parsed)
}

// Within a snapshot there is a cursor for one log only.
func TestComposeWithinSnapshot(t *testing.T) {
	within := cursor.Position{Log: segment.LogID{1}, Sequence: 1, SnapshotRef: 2, SnapshotTime: 3}
	c, err := compose(nil, []cursor.Position{within})
	require.NoError(t, err)
	require.NotNil(t, c)
	c, err = compose(nil, []cursor.Position{within, at(2)})
	require.NoError(t, err)
	require.Nil(t, c)
}

// Logs that are gone make room; too many others are refused.
func TestComposeTooMany(t *testing.T) {
	var many []cursor.Position
	for i := range cursor.MaxPositions + 1 {
		many = append(many, cursor.Position{Log: segment.LogID{1, byte(i >> 8), byte(i)}, Sequence: 1, Gone: i == 3})
	}
	c, err := compose(nil, append([]cursor.Position{}, many...))
	require.NoError(t, err)
	require.Len(t, c.Positions, cursor.MaxPositions)
	require.NotContains(t, c.Positions, many[3])
	many[3].Gone = false
	_, err = compose(nil, many)
	require.ErrorIs(t, err, errTooManyLogs)
}
