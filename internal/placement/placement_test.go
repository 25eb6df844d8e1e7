package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const second = 1000

func placed(t testing.TB, version uint64, epochs ...Epoch) *Placement {
	t.Helper()
	p, err := New(version, ByLabels, []string{"instance", "job"}, epochs)
	require.NoError(t, err)
	return p
}

func names(n int) (groups []string) {
	for i := range n {
		groups = append(groups, fmt.Sprintf("group-%03d", i))
	}
	return groups
}

func TestOneKeyInSoManyMovesToTheAddedGroup(t *testing.T) {
	const keys = 5_000
	for n := 1; n < 12; n++ {
		p := placed(t, 1, Epoch{Ever, names(n)}, Epoch{second, names(n + 1)})
		added, moved := names(n + 1)[n], 0
		shares := map[string]int{}
		for i := range keys {
			k := KeyOf(fmt.Sprint("host-", i), "node")
			before, after := p.Group(k, second-1), p.Group(k, second)
			shares[before]++
			assert.Equal(t, before != after, p.Moves(k, 0))
			if before != after {
				assert.Equal(t, added, after)
				moved++
			}
		}
		assert.InDelta(t, keys/(n+1), moved, keys/float64(n+1)/3, "%d groups", n)
		for name, share := range shares {
			assert.InDelta(t, keys/n, share, keys/float64(n)/3, "%s of %d", name, n)
		}
		assert.Len(t, shares, n)
	}
}

// Where a group is must not change with a version of this program: samples are there.
func TestGroupsForGood(t *testing.T) {
	p := placed(t, 1, Epoch{Ever, []string{"a", "b", "c"}})
	var got []string
	for i := range 12 {
		got = append(got, p.Group(KeyOf(fmt.Sprint("host-", i), "node"), 0))
	}
	assert.Equal(t, []string{"c", "a", "a", "a", "c", "b", "c", "c", "a", "a", "c", "a"}, got)
	assert.Equal(t, Key(0xb3a829a445da7051), KeyOf("host-1", "node"))
	assert.Equal(t, KeyOf("host-1", "node"), Key(0).With([]byte("host-1")).With([]byte("node")))
	assert.NotEqual(t, KeyOf("a", ""), KeyOf("", "a"))
	assert.NotEqual(t, KeyOf("ab", "c"), KeyOf("a", "bc"))
}

func TestEpochs(t *testing.T) {
	epochs := []Epoch{{Ever, []string{"a"}}, {10, []string{"b"}}, {20, []string{"a"}}, {30, []string{"c"}}}
	p := placed(t, 7, epochs...)
	for ms, want := range map[int64]string{Ever: "a", -1: "a", 0: "a", 9: "a", 10: "b", 19: "b", 20: "a", 29: "a", 30: "c", 1 << 62: "c"} {
		assert.Equal(t, want, p.Group(KeyOf("x"), ms), ms)
	}
	assert.Equal(t, epochs, p.Epochs())
	assert.Equal(t, []string{"a", "b", "c"}, p.Groups())
	assert.Equal(t, []string{"c"}, p.Last())
	assert.Equal(t, uint64(7), p.Version())
	assert.True(t, p.Moves(KeyOf("x"), 0))
	assert.False(t, p.Moves(KeyOf("x"), 3))
}

func TestRandomPlacementsAreEncoded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		p := random(t, r)
		read, err := Parse(p.Bytes())
		require.NoError(t, err)
		assert.Equal(t, p.Bytes(), read.Bytes())
		assert.Equal(t, p.Epochs(), read.Epochs())
		assert.Equal(t, p.Labels(), read.Labels())
		assert.Equal(t, p.Spread(), read.Spread())
		for range 20 {
			k, ms := Key(r.Uint64()), int64(r.IntN(200)-20)
			assert.Equal(t, p.Group(k, ms), read.Group(k, ms))
		}
	}
}

func random(t testing.TB, r *rand.Rand) *Placement {
	t.Helper()
	by, labels := Spread(1+r.IntN(3)), []string(nil)
	if by == ByLabels {
		labels = names(1 + r.IntN(3))
	}
	epochs := []Epoch{{Ever, some(r)}}
	for range r.IntN(4) {
		last := epochs[len(epochs)-1]
		groups := some(r)
		if !slices.Equal(groups, last.Groups) {
			epochs = append(epochs, Epoch{max(last.From, 0) + 1 + int64(r.IntN(50)), groups})
		}
	}
	p, err := New(1+r.Uint64N(100), by, labels, epochs)
	require.NoError(t, err)
	return p
}

func some(r *rand.Rand) (groups []string) {
	for _, name := range names(6) {
		if r.IntN(2) == 0 {
			groups = append(groups, name)
		}
	}
	if len(groups) == 0 {
		return names(1)
	}
	return groups
}

func TestPlacementsThatAreRefused(t *testing.T) {
	ever := Epoch{Ever, []string{"a"}}
	for want, of := range map[string]struct {
		version uint64
		by      Spread
		labels  []string
		epochs  []Epoch
	}{
		"the version has to be 1 or more":           {0, BySender, nil, []Epoch{ever}},
		"spread 4 is not known":                     {1, ByTenant + 1, nil, []Epoch{ever}},
		"spread 0 is not known":                     {1, 0, nil, []Epoch{ever}},
		"labels are for a spread by labels":         {1, BySender, []string{"job"}, []Epoch{ever}},
		"which needs them":                          {1, ByLabels, nil, []Epoch{ever}},
		"there are 33 labels, at most 32":           {1, ByLabels, names(33), []Epoch{ever}},
		`the label "a" is not sorted`:               {1, ByLabels, []string{"b", "a"}, []Epoch{ever}},
		`the label "b" is not sorted, or there`:     {1, ByLabels, []string{"b", "b"}, []Epoch{ever}},
		`"" is no name of a label`:                  {1, ByLabels, []string{""}, []Epoch{ever}},
		"there are no epochs":                       {1, BySender, nil, nil},
		"epoch 1: the first one counts from ever":   {1, BySender, nil, []Epoch{{0, []string{"a"}}}},
		"epoch 1: it has no groups":                 {1, BySender, nil, []Epoch{{Ever, nil}}},
		"epoch 2: it does not begin after":          {1, BySender, nil, []Epoch{ever, {0, []string{"b"}}}},
		"epoch 3: it does not begin after":          {1, BySender, nil, []Epoch{ever, {5, []string{"b"}}, {5, []string{"c"}}}},
		"epoch 2: it has the groups of the one":     {1, BySender, nil, []Epoch{ever, {5, []string{"a"}}}},
		`the group "a" is not sorted, or there`:     {1, BySender, nil, []Epoch{{Ever, []string{"a", "a"}}}},
		`"a b" is no name of a group`:               {1, BySender, nil, []Epoch{{Ever, []string{"a b"}}}},
		"bytes on a link, which carries 3072: use ": {1, BySender, nil, []Epoch{{Ever, names(400)}}},
	} {
		_, err := New(of.version, of.by, of.labels, of.epochs)
		require.ErrorContains(t, err, want)
	}
	placed(t, 1, Epoch{Ever, names(200)})
}

func TestFollow(t *testing.T) {
	a, ab, abc := []string{"a"}, []string{"a", "b"}, []string{"a", "b", "c"}
	log := placed(t, 2, Epoch{Ever, a}, Epoch{100, ab})
	for name, test := range map[string]struct {
		next *Placement
		ms   int64
		want error
	}{
		"the same":                              {placed(t, 2, Epoch{Ever, a}, Epoch{100, ab}), 1000, nil},
		"older, though it says the same":        {placed(t, 1, Epoch{Ever, a}, Epoch{100, ab}), 0, ErrOlder},
		"another of the same version":           {placed(t, 2, Epoch{Ever, a}), 0, ErrOther},
		"newer, and says the same":              {placed(t, 3, Epoch{Ever, a}, Epoch{100, ab}), 1000, nil},
		"an epoch added in time":                {placed(t, 3, Epoch{Ever, a}, Epoch{100, ab}, Epoch{201, abc}), 200, nil},
		"an epoch added too late":               {placed(t, 3, Epoch{Ever, a}, Epoch{100, ab}, Epoch{200, abc}), 200, ErrPast},
		"an epoch added before one":             {placed(t, 3, Epoch{Ever, a}, Epoch{50, abc}, Epoch{100, ab}), 200, ErrPast},
		"one changed that is to come":           {placed(t, 3, Epoch{Ever, a}, Epoch{100, abc}), 99, nil},
		"one moved that is to come":             {placed(t, 3, Epoch{Ever, a}, Epoch{150, ab}), 99, nil},
		"one moved into the past":               {placed(t, 3, Epoch{Ever, a}, Epoch{99, ab}), 99, ErrPast},
		"one changed that has come":             {placed(t, 3, Epoch{Ever, a}, Epoch{100, abc}), 100, ErrPast},
		"one left out that is to come":          {placed(t, 3, Epoch{Ever, a}), 99, nil},
		"one left out that has come":            {placed(t, 3, Epoch{Ever, a}), 100, ErrPast},
		"the first one changed":                 {placed(t, 3, Epoch{Ever, ab}), 0, ErrPast},
		"other labels, though nothing has come": {bySender(t, 3, a), 0, ErrPast},
	} {
		require.ErrorIs(t, log.Follow(test.next, test.ms), test.want, name)
	}
	err := log.Follow(placed(t, 3, Epoch{Ever, a}, Epoch{100, abc}), 100)
	assert.EqualError(t, err, "a groups file that changes what counts already: version 3 and 2 differ in the epoch from 1970-01-01T00:00:00.1Z")
}

func bySender(t testing.TB, version uint64, groups []string) *Placement {
	t.Helper()
	p, err := New(version, BySender, nil, []Epoch{{Ever, groups}})
	require.NoError(t, err)
	return p
}

func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add(random(f, r).Bytes())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Parse(in)
		if err != nil {
			return
		}
		assert.Equal(t, in, p.Bytes())
		require.NoError(t, p.Follow(p, 0))
		assert.Contains(t, p.Epochs()[0].Groups, p.Group(KeyOf("x"), Ever))
		assert.Contains(t, p.Last(), p.Group(KeyOf("x"), 1<<62))
	})
}

func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{1, 2, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := placed(b, 1, Epoch{Ever, names(n)})
			value := []byte("host-17.example.org:9100")
			for b.Loop() {
				_ = p.Index(Key(0).With(value).With(value[:4]), 1)
			}
		})
	}
}
