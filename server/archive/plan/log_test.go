package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/segment"
)

const interval = 10 * time.Second

var (
	start = time.Unix(1_700_000_000, 0)
	logID = segment.LogID{1}
)

func segmentName(first uint64) string {
	return fmt.Sprintf("20260102T030405.000Z-%020d.seg", first)
}

// store is a bucket that keeps how large the objects of one log are.
type store map[string]int64

func (s store) create(o layout.Object, size int64) bool {
	if s[o.Name()] > 0 {
		return false
	}
	s[o.Name()] = size
	return true
}

// planner is a server: what it has of the log, and its plan.
type planner struct {
	*Log
	local []Segment
	sent  int64
	asked int
}

func (p *planner) step(now time.Time, s store, lost bool) Step {
	step := p.Next(now, p.local)
	o := layout.Object{Log: logID, Segment: step.Segment, Piece: step.Piece, Offset: step.Offset}
	if step.Do != Wait {
		p.asked++
	}
	switch step.Do {
	case Look:
		if size := s[o.Name()]; size > 0 {
			p.Found(now, step, size)
		} else {
			p.Missing(now, step)
		}
	case Create:
		p.sent += step.Size
		switch made := s.create(o, step.Size); {
		case lost:
			p.Failed(step)
		case made:
			p.Created(now, step)
		default:
			p.Exists(now, step)
		}
	case Delete:
		delete(s, o.Name())
		p.Deleted(step)
	}
	return step
}

// run takes steps until it is to wait.
func (p *planner) run(t *testing.T, now time.Time, s store) {
	t.Helper()
	for range 1000 {
		if p.step(now, s, false).Do == Wait {
			return
		}
	}
	require.Fail(t, "steps without end")
}

func newPlanner(jitter time.Duration) *planner { return &planner{Log: NewLog(start, interval, jitter)} }

func (s store) names() []string {
	var names []string
	for name := range s {
		names = append(names, name[strings.Index(name, "-")+1:])
	}
	slices.Sort(names)
	return names
}

// TestOneSends checks that of two servers one sends, that the other looks once or twice an
// interval, and sends when the first has stopped.
func TestOneSends(t *testing.T) {
	bucket := store{}
	a, b := newPlanner(time.Second), newPlanner(5*time.Second)
	now := start
	grow := func(d time.Duration, planners ...*planner) {
		for end := now.Add(d); now.Before(end); now = now.Add(time.Second) {
			for _, p := range planners {
				s := &p.local[0]
				s.Last, s.Size = s.Last+1, s.Size+100
				p.run(t, now, bucket)
			}
		}
	}
	a.local = []Segment{{Name: segmentName(1), First: 1, Last: 0, Size: 1000}}
	b.local = slices.Clone(a.local)
	grow(10*time.Minute, a, b)
	require.Zero(t, b.sent)
	require.LessOrEqual(t, a.local[0].Size-a.sent, int64(1100), "what is missing is of one interval")
	require.LessOrEqual(t, b.asked, 2*60)
	grow(time.Minute, b)
	require.Positive(t, b.sent)
	require.LessOrEqual(t, b.local[0].Size-a.sent-b.sent, int64(1100))
}

// TestSealed checks that the sealed segment takes the place of its pieces, once, and that
// the last piece comes before it.
func TestSealed(t *testing.T) {
	bucket := store{}
	a, b := newPlanner(0), newPlanner(time.Second)
	a.local = []Segment{{Name: segmentName(1), First: 1, Last: 5, Size: 1000}}
	b.local = slices.Clone(a.local)
	now := start.Add(time.Minute)
	a.run(t, start, bucket)
	a.run(t, start.Add(time.Second), bucket)
	a.run(t, now, bucket)
	require.Len(t, bucket, 1)
	for _, p := range []*planner{a, b} {
		p.local[0].Size, p.local[0].Last, p.local[0].Sealed = 1500, 9, true
		p.local = append(p.local, Segment{Name: segmentName(10), First: 10, Last: 10, Size: 700})
	}
	step := a.step(now, bucket, false)
	require.True(t, step.Piece)
	require.EqualValues(t, 1000, step.Offset)
	step = a.step(now, bucket, false)
	require.Equal(t, Create, step.Do)
	require.False(t, step.Piece)
	a.run(t, now, bucket)
	require.Equal(t, []string{
		"00000000000000000001.seg", "00000000000000000010.seg.part/00000000000000000000",
	}, bucket.names())
	b.run(t, now, bucket)
	for range 60 {
		now = now.Add(time.Second)
		b.run(t, now, bucket)
	}
	require.Zero(t, b.sent)
	require.EqualValues(t, 10, b.Archived(b.local, nil))
	require.Empty(t, b.Diverged())
}

// TestNoHole checks that who has earlier segments brings them, however much another one
// sends that lacks them, and that nothing is sent behind what is not there.
func TestNoHole(t *testing.T) {
	bucket := store{}
	a, b := newPlanner(0), newPlanner(time.Second)
	early := []Segment{{Name: segmentName(1), First: 1, Last: 9, Size: 1000, Sealed: true}, {Name: segmentName(10), First: 10, Last: 19, Size: 1000, Sealed: true}}
	open := Segment{Name: segmentName(20), First: 20, Last: 20, Size: 100}
	now := start
	for range 100 {
		now = now.Add(time.Second)
		open.Last, open.Size = open.Last+1, open.Size+10
		a.local, b.local = []Segment{open}, append(slices.Clone(early), open)
		a.run(t, now, bucket)
		b.run(t, now, bucket)
	}
	for _, s := range early {
		require.Equal(t, s.Size, bucket[layout.Object{Log: logID, Segment: s.Name}.Name()])
	}
	require.Less(t, a.sent+b.sent, int64(2000+2*1200), "not much is sent twice")
	alone := newPlanner(0)
	alone.local = b.local
	for now = start; alone.sent == 0; now = now.Add(time.Second) {
		if step := alone.step(now, store{}, true); step.Do == Create {
			require.Equal(t, early[0].Name, step.Segment)
		}
	}
}

// TestLostAnswer checks that what was created without an answer is not sent again under
// another name, and that who created it goes on.
func TestLostAnswer(t *testing.T) {
	bucket := store{}
	a := newPlanner(0)
	a.local = []Segment{{Name: segmentName(1), First: 1, Last: 5, Size: 1000}}
	now := start.Add(time.Hour)
	for a.Next(now, a.local).Do != Create {
		a.step(now, bucket, false)
		now = now.Add(time.Second)
	}
	a.step(now, bucket, true)
	a.local[0].Size, a.local[0].Last = 1300, 6
	require.Equal(t, Create, a.step(now, bucket, false).Do)
	require.Equal(t, Look, a.step(now, bucket, false).Do)
	a.run(t, now.Add(interval), bucket)
	require.Len(t, bucket, 2)
	require.EqualValues(t, 1300, a.end(segmentName(1)))
}

func (p *planner) end(name string) int64 { return p.object(name).end() }

// TestDiverged checks that a log of which the bucket has other bytes is left alone.
func TestDiverged(t *testing.T) {
	for name, c := range map[string]struct {
		sealed int64
		pieces []layout.Piece
		local  Segment
	}{
		"sealed, larger":           {sealed: 2000, local: Segment{Size: 1000, Sealed: true}},
		"sealed, smaller":          {sealed: 500, local: Segment{Size: 1000, Sealed: true}},
		"sealed, and longer here":  {sealed: 500, local: Segment{Size: 1000}},
		"more pieces than is here": {pieces: []layout.Piece{{Size: 1001}}, local: Segment{Size: 1000, Sealed: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlanner(0)
			c.local.Name, c.local.First, c.local.Last = segmentName(1), 1, 9
			p.Listed(c.local.Name, c.sealed, c.pieces)
			require.Equal(t, Wait, p.Next(start.Add(time.Hour), []Segment{c.local}).Do)
			require.NotEmpty(t, p.Diverged())
		})
	}
	p := newPlanner(0)
	p.Listed(segmentName(1), 2000, nil)
	require.Equal(t, Wait, p.Next(start.Add(time.Hour), []Segment{{Name: segmentName(1), First: 1, Last: 9, Size: 1000}}).Do)
	require.Empty(t, p.Diverged(), "a server that is behind")
}

// TestServersAgree lets servers that lag, pause and lose answers plan for one log, and
// checks that no object has other bytes than the log, and that in the end all of it is
// there, by each sealed segment once.
func TestServersAgree(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		bucket := store{}
		truth := []Segment{{Name: segmentName(1), First: 1, Last: 1, Size: 100}}
		var all []*planner
		for range 3 {
			all = append(all, newPlanner(time.Duration(r.Int64N(int64(interval)))))
		}
		now := start
		for range 300 {
			now = now.Add(time.Duration(r.Int64N(int64(3 * time.Second))))
			last := &truth[len(truth)-1]
			last.Last, last.Size = last.Last+1, last.Size+r.Int64N(1000)+1
			if r.IntN(20) == 0 {
				last.Sealed = true
				truth = append(truth, Segment{Name: segmentName(last.Last + 1), First: last.Last + 1, Last: last.Last + 1, Size: 100})
			}
			for _, p := range all {
				if r.IntN(3) == 0 {
					p.local = slices.Clone(truth)
				}
				for range r.IntN(5) {
					p.step(now, bucket, r.IntN(10) == 0)
				}
			}
			checkBytes(t, seed, bucket, truth)
		}
		for range 200 {
			now = now.Add(interval)
			for _, p := range all {
				p.local = slices.Clone(truth)
				p.run(t, now, bucket)
				require.Empty(t, p.Diverged(), "seed %d", seed)
			}
		}
		for _, p := range all {
			require.Equal(t, truth[len(truth)-1].Last, p.Archived(truth, nil), "seed %d", seed)
		}
		for i, s := range truth {
			if i < len(truth)-1 {
				require.Equal(t, s.Size, bucket[layout.Object{Log: logID, Segment: s.Name}.Name()], "seed %d", seed)
			}
		}
	}
}

// checkBytes checks that what is in the bucket is what is in the log: pieces without
// overlap, sealed segments whole.
func checkBytes(t *testing.T, seed uint64, bucket store, truth []Segment) {
	t.Helper()
	for name, size := range bucket {
		o, ok := layout.ParseName(name)
		require.True(t, ok)
		i := slices.IndexFunc(truth, func(s Segment) bool { return s.Name == o.Segment })
		require.GreaterOrEqual(t, i, 0)
		require.LessOrEqual(t, o.Offset+size, truth[i].Size, "seed %d: %s", seed, name)
		if !o.Piece {
			require.True(t, truth[i].Sealed && size == truth[i].Size, "seed %d: %s", seed, name)
		}
	}
	var end int64
	last := ""
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range bucket {
			if !yield(name) {
				return
			}
		}
	})
	for _, name := range names {
		o, _ := layout.ParseName(name)
		if o.Segment != last {
			last, end = o.Segment, 0
		}
		if o.Piece && bucket[layout.Object{Log: logID, Segment: o.Segment}.Name()] == 0 {
			require.Equal(t, end, o.Offset, "seed %d: %s", seed, name)
			end += bucket[name]
		}
	}
}
