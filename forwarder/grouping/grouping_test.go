package grouping

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/segment"
)

// belonging is to a group by a placement whose epochs after the first begin at times.
func belonging(t testing.TB, group string, version uint64, times ...int64) Belonging {
	t.Helper()
	all := [][]string{{"a", "b"}, {"a", "b", "c"}}
	epochs := []placement.Epoch{{From: placement.Ever, Groups: all[0]}}
	for i, from := range times {
		epochs = append(epochs, placement.Epoch{From: from, Groups: all[(i+1)%2]})
	}
	p, err := placement.New(version, placement.ByLabels, []string{"job"}, epochs)
	require.NoError(t, err)
	return Belonging{group, p}
}

func TestMeet(t *testing.T) {
	const until = 1000
	a := func(version uint64, times ...int64) Belonging { return belonging(t, "a", version, times...) }
	for name, c := range map[string]struct {
		log, hello Belonging
		taken      bool
		refused    Reason
	}{
		"no groups at all":                     {},
		"the first":                            {hello: a(7), taken: true},
		"the first, whatever its instants":     {hello: a(7, 10, until), taken: true},
		"the same":                             {log: a(7, 10), hello: a(7, 10)},
		"none any more":                        {log: a(7), refused: None},
		"another group":                        {log: a(7), hello: belonging(t, "b", 7), refused: Group},
		"another group, with a newer file":     {log: a(7), hello: belonging(t, "b", 8), refused: Group},
		"older":                                {log: a(7), hello: a(6), refused: Older},
		"another of the same version":          {log: a(7), hello: a(7, 2000), refused: Other},
		"newer that says the same":             {log: a(7, 10), hello: a(8, 10), taken: true},
		"newer, with an instant ahead":         {log: a(7), hello: a(8, until+1), taken: true},
		"newer, with an instant that is past":  {log: a(7), hello: a(8, until), refused: Past},
		"newer, without one that is past":      {log: a(7, until), hello: a(8), refused: Past},
		"newer, without one that is ahead":     {log: a(7, until+1), hello: a(8), taken: true},
		"newer, with one that is past moved":   {log: a(7, 10), hello: a(8, 20), refused: Past},
		"newer, with one put off that is past": {log: a(7, until), hello: a(8, until+1), refused: Past},
		"newer, with one put off":              {log: a(7, until+1), hello: a(8, until+2), taken: true},
		"versions left out":                    {log: a(7), hello: a(12, until+1, until+2), taken: true},
	} {
		t.Run(name, func(t *testing.T) {
			taken, err := c.log.Meet(c.hello, until)
			require.Equal(t, c.taken, taken)
			if c.refused == "" {
				require.NoError(t, err)
				return
			}
			var refused *Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, c.refused, refused.Reason)
			require.Contains(t, Reasons, refused.Reason)
		})
	}
}

// TestMeetings has receivers with all sorts of files say hello to a log in all sorts of orders.
// Whatever they say, the log keeps its group, its versions grow, and what counted at a time
// until which it was written counts for good.
func TestMeetings(t *testing.T) {
	rnd := rand.New(rand.NewPCG(17, 2))
	for range 300 {
		var log Belonging
		now := int64(1)
		type said struct {
			at  int64
			key placement.Key
			as  string
		}
		var written []said
		for range 30 {
			now += rnd.Int64N(50)
			var times []int64
			for at := int64(1); rnd.IntN(3) > 0; {
				at += 1 + rnd.Int64N(400)
				times = append(times, at)
			}
			hello := belonging(t, []string{"a", "b"}[min(rnd.IntN(10)/9, 1)], 1+uint64(rnd.IntN(20)), times...)
			before := log
			taken, err := log.Meet(hello, now)
			if taken {
				require.NoError(t, err)
				log = hello
				require.Greater(t, log.Version(), before.Version())
			}
			if before.Placement != nil {
				require.Equal(t, before.Group, log.Group)
			}
			if err == nil {
				require.Equal(t, log.Placement.Bytes(), hello.Placement.Bytes())
				key := placement.Key(rnd.Uint64())
				written = append(written, said{now, key, hello.Placement.Group(key, now)})
			}
			for _, w := range written {
				require.Equal(t, w.as, log.Placement.Group(w.key, w.at))
			}
		}
	}
}

func TestWhatIsSaid(t *testing.T) {
	b := belonging(t, "a", 3, 5)
	got, err := Of(b.Segment())
	require.NoError(t, err)
	require.Equal(t, b.Segment(), got.Segment())
	got, err = Said(&linkv1.Hello{Group: "a", Placement: b.Placement.Bytes()})
	require.NoError(t, err)
	require.Equal(t, b.Segment(), got.Segment())
	require.Equal(t, uint64(3), got.Version())

	none, err := Said(&linkv1.Hello{})
	require.NoError(t, err)
	require.Equal(t, Belonging{}, none)
	require.True(t, none.Segment().None())
	require.Zero(t, none.Version())

	for name, h := range map[string]*linkv1.Hello{
		"no group":                    {Placement: b.Placement.Bytes()},
		"no placement":                {Group: "a"},
		"a group not there":           {Group: "z", Placement: b.Placement.Bytes()},
		"bytes that are no placement": {Group: "a", Placement: []byte("x")},
		"bytes of more":               {Group: "a", Placement: append(b.Placement.Bytes(), 0)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Said(h)
			require.Error(t, err)
		})
	}
}

// TestEveryPlacementHasRoomInALog checks the bounds of placements against those of segments.
func TestEveryPlacementHasRoomInALog(t *testing.T) {
	require.LessOrEqual(t, placement.MaxBytes, segment.MaxPlacement)
	var names []string
	for i := 0; ; i++ {
		names = append(names, fmt.Sprintf("group-%060d", i)[:60]+fmt.Sprintf("%04d", i))
		p, err := placement.New(1, placement.BySender, nil, []placement.Epoch{{From: placement.Ever, Groups: names}})
		if err != nil {
			require.Greater(t, i, 10)
			return
		}
		require.NoError(t, Belonging{names[i], p}.Segment().Check())
	}
}
