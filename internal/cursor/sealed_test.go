package cursor_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/cursor"
)

func positions(n int, sequence uint64) cursor.Cursor {
	c := cursor.Cursor{Since: new(int64(math.MinInt64))}
	for i := range n {
		c.Positions = append(c.Positions, cursor.Position{Log: logID(byte(i)), Sequence: sequence, Entries: uint32(sequence)})
	}
	return c
}

func TestSealed(t *testing.T) {
	first, second := cursor.Key{1}, cursor.Key{2}
	for n := 0; n <= cursor.MaxPositions; n++ {
		c := positions(n, math.MaxUint64-1)
		s := c.Seal(first, "a")
		require.LessOrEqual(t, len(s), maxBytes, "a request takes no longer one")
		require.True(t, cursor.IsSealed(s))
		got, err := cursor.Open(s, []cursor.Key{second, first}, "a")
		require.NoError(t, err)
		require.Equal(t, c, *got)
		small := cursor.Cursor{Positions: positions(n, 0).Positions}
		assert.Equal(t, len(s), len(small.Seal(first, "a")), "the length tells nothing of the sequences") //nolint:testifylint // a failure would print it all
	}
}

func TestSealedIsBound(t *testing.T) {
	c := positions(2, 7)
	key := cursor.Key{1}
	s := c.Seal(key, "a")
	assert.NotEqual(t, s, c.Seal(key, "a"), "two of the same position cannot be told to be")
	for name, open := range map[string]func() (*cursor.Cursor, error){
		"another owner":      func() (*cursor.Cursor, error) { return cursor.Open(s, []cursor.Key{key}, "b") },
		"another key":        func() (*cursor.Cursor, error) { return cursor.Open(s, []cursor.Key{{2}}, "a") },
		"no key":             func() (*cursor.Cursor, error) { return cursor.Open(s, nil, "a") },
		"not sealed":         func() (*cursor.Cursor, error) { return cursor.Open(c.String(), []cursor.Key{key}, "a") },
		"cut off":            func() (*cursor.Cursor, error) { return cursor.Open(s[:10], []cursor.Key{key}, "a") },
		"cut off at the end": func() (*cursor.Cursor, error) { return cursor.Open(s[:len(s)-4], []cursor.Key{key}, "a") },
		"nothing in it":      func() (*cursor.Cursor, error) { return cursor.Open("s.", []cursor.Key{key}, "a") },
		"no base64":          func() (*cursor.Cursor, error) { return cursor.Open("s.*", []cursor.Key{key}, "a") },
		"parsed as another":  func() (*cursor.Cursor, error) { return cursor.Parse(s) },
	} {
		_, err := open()
		require.Error(t, err, name)
		assert.NotContains(t, err.Error(), logID(0).String(), name)
	}
	for i := len("s."); i < len(s); i++ {
		other := "A"
		if s[i] == 'A' {
			other = "B"
		}
		_, err := cursor.Open(s[:i]+other+s[i+1:], []cursor.Key{key}, "a")
		require.Error(t, err, "byte %d", i)
	}
}

func FuzzOpen(f *testing.F) {
	c := positions(1, 7)
	key := cursor.Key{1}
	f.Add(c.Seal(key, "a"))
	f.Add("s." + strings.Repeat("A", 300))
	f.Fuzz(func(t *testing.T, s string) {
		got, err := cursor.Open(s, []cursor.Key{key}, "a")
		if err == nil {
			require.Equal(t, c, *got, "nobody has another")
		}
	})
}
