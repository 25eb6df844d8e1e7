package torture

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestCompareNotices shows that a comparison finds each way to break the
// promise.
func TestCompareNotices(t *testing.T) {
	a, b, c := entry{time: 1}, entry{time: 2}, entry{time: 3, bits: 1}
	want := history{"s": {a, b}, "t": {c}}
	for name, test := range map[string]struct {
		got  history
		want difference
	}{
		"same":           {history{"s": {a, b}, "t": {c}}, difference{}},
		"lost":           {history{"s": {a}, "t": {c}}, difference{lost: 1}},
		"lost series":    {history{"s": {a, b}}, difference{lost: 1}},
		"twice":          {history{"s": {a, b, b}, "t": {c}}, difference{duplicated: 1}},
		"order":          {history{"s": {b, a}, "t": {c}}, difference{disordered: 1}},
		"a bit":          {history{"s": {a, b}, "t": {{time: 3}}}, difference{lost: 1, foreign: 1}},
		"foreign series": {history{"s": {a, b}, "t": {c}, "u": {a, b}}, difference{foreign: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			got := compare(want, test.got)
			got.evidence = nil
			assert.Equal(t, &test.want, got)
		})
	}
}

// TestPlanIsOfTheSeed shows that a seed gives the same plan each time, and
// another seed another one.
func TestPlanIsOfTheSeed(t *testing.T) {
	o := options{duration: 20e9, disk: memory}
	assert.True(t, slices.Equal(plan(1, o), plan(1, o)))
	assert.False(t, slices.Equal(plan(1, o), plan(2, o)))
}

// TestMergeLives shows that a client which was killed may print again what it
// printed since it saved its cursor, and nothing else.
func TestMergeLives(t *testing.T) {
	e := func(times ...int64) (list []entry) {
		for _, n := range times {
			list = append(list, entry{time: n})
		}
		return list
	}
	for name, test := range map[string]struct {
		before, after, want []entry
		again               int
	}{
		"goes on":     {e(1, 2), e(3), e(1, 2, 3), 0},
		"overlaps":    {e(1, 2, 3), e(2, 3, 4), e(1, 2, 3, 4), 2},
		"within":      {e(1, 2, 3), e(2), e(1, 2, 3), 1},
		"nothing new": {e(1, 2), nil, e(1, 2), 0},
		"first":       {nil, e(1), e(1), 0},
		"hole in it":  {e(1, 2, 3), e(1, 3, 4), e(1, 2, 3, 1, 3, 4), 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, again := mergeLives(test.before, test.after)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.again, again)
		})
	}
}

// TestLives shows that what a killed life printed of one series may come again after what is
// new in another, and not after what is new in the same.
func TestLives(t *testing.T) {
	l := newLives(false)
	e := func(n int64) []entry { return []entry{{time: n}} }
	assert.Empty(t, l.add(history{"s": e(1), "t": e(1)}, true))
	assert.Empty(t, l.add(history{"t": e(2)}, false))
	assert.Len(t, l.add(history{"t": e(2)}, false), 1)
	assert.Empty(t, l.add(history{"s": append(e(1), e(2)...)}, false))
	assert.Len(t, l.add(history{"s": e(2)}, false), 1)
	assert.Equal(t, history{"s": append(e(1), e(2)...), "t": append(e(1), e(2)...)}, l.kept)
}
