package cursor_test

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	cursorv1 "github.com/promgrpc/exporter/gen/go/promgrpc/cursor/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
)

// maxBytes that a request takes of a cursor.
const maxBytes = 16384

func logID(n byte) segment.LogID { return segment.LogID{0: n, 15: 0xff} }

func TestRoundTrip(t *testing.T) {
	var many []cursor.Position
	for i := range cursor.MaxPositions {
		many = append(many, cursor.Position{Log: logID(byte(i)), Sequence: math.MaxUint64 - 1, Entries: math.MaxUint32, Gone: true})
	}
	for name, c := range map[string]cursor.Cursor{
		"the beginning":  {},
		"since, no log":  {Since: new(int64(7))},
		"empty log":      {Positions: []cursor.Position{{Log: logID(1)}}},
		"block":          {Positions: []cursor.Position{{Log: logID(1), Sequence: 7}}},
		"within a block": {Positions: []cursor.Position{{Log: logID(1), Sequence: 7, Entries: 3}}},
		"gone":           {Positions: []cursor.Position{{Log: logID(1), Sequence: 7, Gone: true}}},
		"snapshot":       {Positions: []cursor.Position{{Log: logID(1), Sequence: 7, SnapshotRef: 12, SnapshotTime: 1700000000000}}},
		"since":          {Positions: []cursor.Position{{Log: logID(1), Sequence: 7}}, Since: new(int64(-5))},
		"since 1970":     {Positions: []cursor.Position{{Log: logID(1), Sequence: 7}}, Since: new(int64(0))},
		"many logs":      {Positions: many, Since: new(int64(math.MinInt64))},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.String()
			require.LessOrEqual(t, len(s), maxBytes)
			got, err := cursor.Parse(s)
			require.NoError(t, err)
			require.Equal(t, c, *got)
		})
	}
}

// The bytes are those of the protobuf message, which other versions read.
func TestIsTheMessage(t *testing.T) {
	log := logID(9)
	c := cursor.Cursor{Positions: []cursor.Position{{Log: log, Sequence: 300, Entries: 2}}, Since: new(int64(5))}
	wire, err := proto.Marshal(&cursorv1.Cursor{
		Positions: []*cursorv1.Position{{LogId: log[:], Sequence: 300, Entries: 2}},
		Since:     new(int64(5)),
	})
	require.NoError(t, err)
	require.Equal(t, base64.RawURLEncoding.EncodeToString(wire), c.String())
}

func TestParseRefuses(t *testing.T) {
	log, other := logID(1), logID(2)
	one := func(p *cursorv1.Position) *cursorv1.Cursor {
		return &cursorv1.Cursor{Positions: []*cursorv1.Position{p}}
	}
	for name, tt := range map[string]struct {
		message *cursorv1.Cursor
		want    string
	}{
		"nothing":              {&cursorv1.Cursor{}, "0 positions"},
		"beginning and more":   {&cursorv1.Cursor{Beginning: true, Positions: []*cursorv1.Position{{LogId: log[:]}}}, "has 1 positions"},
		"short log id":         {one(&cursorv1.Position{LogId: log[:15]}), "15 bytes"},
		"zero log id":          {one(&cursorv1.Position{LogId: make([]byte, 16)}), "zero"},
		"last sequence":        {one(&cursorv1.Position{LogId: log[:], Sequence: math.MaxUint64}), "no successor"},
		"snapshot and entries": {one(&cursorv1.Position{LogId: log[:], Entries: 1, SnapshotRef: 1, SnapshotTime: 1}), "within a block"},
		"snapshot, no time":    {one(&cursorv1.Position{LogId: log[:], SnapshotRef: 1}), "does not go with"},
		"disorder":             {&cursorv1.Cursor{Positions: []*cursorv1.Position{{LogId: other[:]}, {LogId: log[:]}}}, "not in order"},
		"twice":                {&cursorv1.Cursor{Positions: []*cursorv1.Position{{LogId: log[:]}, {LogId: log[:]}}}, "not in order"},
		"snapshot of several": {&cursorv1.Cursor{Positions: []*cursorv1.Position{
			{LogId: log[:], SnapshotRef: 1, SnapshotTime: 1}, {LogId: other[:]},
		}}, "one log"},
	} {
		t.Run(name, func(t *testing.T) {
			wire, err := proto.Marshal(tt.message)
			require.NoError(t, err)
			_, err = cursor.Parse(base64.RawURLEncoding.EncodeToString(wire))
			require.ErrorContains(t, err, tt.want)
		})
	}
	for _, s := range []string{"", "*", "AA==", "CgA", strings.Repeat("A", 100)} {
		_, err := cursor.Parse(s)
		require.Error(t, err, "%q", s)
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&cursor.Cursor{Positions: []cursor.Position{{Log: logID(1), Sequence: 7, Entries: 3}}}).String())
	f.Add((&cursor.Cursor{Positions: []cursor.Position{{Log: logID(1), SnapshotRef: 1, SnapshotTime: 2}, {Log: logID(2)}}}).String())
	f.Add((&cursor.Cursor{Since: new(int64(7))}).String())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := cursor.Parse(s)
		if err != nil {
			return
		}
		again, err := cursor.Parse(c.String())
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
