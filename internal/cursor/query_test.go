package cursor_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/cursor"
)

var queries = []cursor.Query{
	{},
	{Query: 1, Evaluated: 15000},
	{Query: math.MaxUint64, Evaluated: math.MinInt64, State: []byte("state")},
}

func TestQuery(t *testing.T) {
	for _, q := range queries {
		got, err := cursor.ParseQuery(q.String())
		require.NoError(t, err)
		require.Equal(t, q, got)
	}
}

// A cursor of one call is refused by the other, with a message that says why.
func TestOfAnotherCall(t *testing.T) {
	c := positions(2, 7)
	for _, token := range []string{c.String(), c.Seal(cursor.Key{1}, "a")} {
		_, err := cursor.ParseQuery(token)
		require.ErrorContains(t, err, "is one of GetMetrics")
	}
	for _, q := range queries {
		_, err := cursor.Parse(q.String())
		require.ErrorContains(t, err, "is one of a query")
	}
	for name, token := range map[string]string{"nothing": "", "no base64": "*", "cut off": queries[1].String()[:8], "another message": "IAE"} {
		_, err := cursor.ParseQuery(token)
		require.Error(t, err, name)
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, q := range queries {
		f.Add(q.String())
	}
	c := positions(1, 7)
	f.Add(c.String())
	f.Fuzz(func(t *testing.T, s string) {
		q, err := cursor.ParseQuery(s)
		if err != nil {
			return
		}
		again, err := cursor.ParseQuery(q.String())
		require.NoError(t, err)
		require.Equal(t, q, again)
	})
}
