package postings

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
	"github.com/promgrpc/exporter/server/selection"
)

// plain are series by ref. A selector finds those whose labels match all of its
// matchers, which are Prometheus' own.
type plain map[uint64]labels.Labels

func (p plain) add(s segment.Series) {
	builder := labels.NewScratchBuilder(len(s.Labels))
	for _, l := range s.Labels {
		builder.Add(l.Name, l.Value)
	}
	p[s.Ref] = builder.Labels()
}

// find returns the refs that any of the selectors finds, or all, of those that the
// caller may see.
func (p plain) find(s *selection.Selection) (refs []uint64) {
	for ref, ls := range p {
		found := func(matchers selection.Selector) bool {
			return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) })
		}
		if (len(s.Selectors) == 0 || slices.ContainsFunc(s.Selectors, found)) &&
			(s.Allowed == nil || slices.ContainsFunc(s.Allowed.Selectors, found)) {
			refs = append(refs, ref)
		}
	}
	return refs
}

// observing returns an index and the head that it observes.
func observing() (*Index, *head.Head) {
	x := NewIndex()
	h := head.NewObserved(x)
	x.Labels(h.Label)
	return x, h
}

// filled returns an index of series, the head that it observes, and the same
// series without an index.
func filled(t testing.TB, series int) (*Index, *head.Head, plain) {
	x, h := observing()
	listed := plain{}
	random := rand.New(rand.NewPCG(1, 2))
	var added []segment.Series
	for i := range series {
		ls := segment.Labels{{Name: "__name__", Value: fmt.Sprintf("m%d", i%7)}}
		for _, name := range []string{"a", "b", "c"} {
			if v := random.IntN(6); v > 0 {
				ls = append(ls, segment.Label{Name: name, Value: fmt.Sprint(v)})
			}
		}
		ref := uint64(3*i + 1)
		added = append(added, segment.Series{Ref: ref, Labels: ls})
		listed.add(added[i])
	}
	require.NoError(t, h.ApplyBlock(&segment.Block{Sequence: 1, Series: segment.TableOf(added...)}))
	return x, h, listed
}

// requireSame compares what is found with the series whose labels match one by
// one.
func requireSame(t *testing.T, x *Index, h *head.Head, listed plain, s *selection.Selection) {
	t.Helper()
	got := findAll(t, x, s)
	require.True(t, slices.IsSorted(got))
	require.ElementsMatch(t, listed.find(s), got)
	var want []uint64
	h.Each(func(ref uint64, _ *segment.Latest) bool {
		if ls, _ := h.Labels(ref, nil); s.Matches(ls) {
			want = append(want, ref)
		}
		return true
	})
	require.ElementsMatch(t, want, got)
}

// findAll returns the refs that a selection matches.
func findAll(t testing.TB, x *Index, s *selection.Selection) (refs []uint64) {
	e, v := selectiontest.Evaluation(context.Background()), x.View()
	defer e.End()
	found, err := Find(e, v, s)
	require.NoError(t, err)
	for id := range found.Each {
		refs = append(refs, v.Refs()[id])
	}
	return refs
}

// The refs found are those of the series whose labels Prometheus' matchers
// match.
func TestFindAgreesWithPrometheus(t *testing.T) {
	x, h, listed := filled(t, 2000)
	for _, text := range selectiontest.Selectors {
		s, err := selectiontest.Parse(text)
		require.NoError(t, err)
		t.Run(text, func(t *testing.T) { requireSame(t, x, h, listed, s) })
	}
	for _, several := range [][]string{{`m1`, `m2`, `m1{a="1"}`}, nil, {`{}`}, {`m1`, `{}`}} {
		s, err := selectiontest.Parse(several...)
		require.NoError(t, err)
		requireSame(t, x, h, listed, s)
	}
}

// With any selectors of the request, what is found is what the caller may see of it.
func TestFindWhatIsAllowed(t *testing.T) {
	x, h, listed := filled(t, 2000)
	random := rand.New(rand.NewPCG(1, 2))
	some := func(most int) (texts []string) {
		for range random.IntN(most + 1) {
			texts = append(texts, selectiontest.Selectors[random.IntN(len(selectiontest.Selectors))])
		}
		return texts
	}
	for range 300 {
		requested, allowed := some(3), append(some(2), selectiontest.Selectors[random.IntN(len(selectiontest.Selectors))])
		s, err := selectiontest.ParseAllowed(requested, allowed)
		require.NoError(t, err)
		require.False(t, s.All())
		requireSame(t, x, h, listed, s)
	}
}

// Most series are dropped, and the labels of the others get new numbers.
func TestFindAfterDrops(t *testing.T) {
	x, h, _ := filled(t, 1000)
	keep, listed := &segment.Keyframe{Sequence: 1, NextRef: h.NextRef(), Last: true}, plain{}
	var kept []segment.Series
	h.Each(func(ref uint64, l *segment.Latest) bool {
		if ref%2 == 0 && ref%5 == 0 {
			kept = append(kept, segment.Series{Ref: ref})
			keep.Latest = append(keep.Latest, *l)
		}
		return true
	})
	for i := range kept {
		s := &kept[i]
		s.Labels, _ = h.Labels(s.Ref, nil)
		listed.add(*s)
	}
	keep.Series = segment.TableOf(kept...)
	require.NoError(t, h.ApplyKeyframe(keep))
	later := segment.Series{Ref: h.NextRef(), Labels: segment.Labels{{Name: "a", Value: "1"}, {Name: "d", Value: "4"}}}
	require.NoError(t, h.ApplyBlock(&segment.Block{Sequence: 2, Series: segment.TableOf(later)}))
	listed.add(later)
	for _, text := range append(selectiontest.Selectors, `{d="4"}`) {
		s, err := selectiontest.Parse(text)
		require.NoError(t, err)
		requireSame(t, x, h, listed, s)
	}
}

// Next and Seek in any order are those of Prometheus' own lists.
func FuzzRunPostings(f *testing.F) {
	f.Add([]byte{1, 1, 2, 3, 50, 1}, []byte{0, 0, 5, 0, 200, 0, 0})
	f.Add([]byte{}, []byte{7})
	f.Add([]byte{7, 15, 7, 7, 6, 6, 3, 0, 0, 7}, []byte{0, 0, 0, 1, 2, 0, 0})
	f.Fuzz(func(t *testing.T, series, steps []byte) {
		x := NewIndex()
		x.Labels(func(number uint32) segment.Label { return segment.Label{Name: "l", Value: fmt.Sprint(number)} })
		listed := make([][]storage.SeriesRef, 3)
		x.SeriesAdded(1, []uint32{0, 1, 2})
		for i := range listed {
			listed[i] = append(listed[i], 1)
		}
		for i, bits := range series {
			var numbers []uint32
			for n := range listed {
				if bits>>n&1 == 1 {
					numbers = append(numbers, uint32(n))
					listed[n] = append(listed[n], storage.SeriesRef(i+2))
				}
			}
			if bits&8 != 0 {
				slices.Reverse(numbers)
			}
			x.SeriesAdded(uint64(i+2), numbers)
		}
		for n := range listed {
			var found [1]Runs
			v := x.View()
			require.NoError(t, v.OfNumbers([]uint32{uint32(n)}, found[:]))
			ours, theirs := &found[0], index.NewListPostings(listed[n])
			to := storage.SeriesRef(0)
			for _, step := range steps {
				var a, b bool
				if step == 0 {
					a, b = ours.Next(), theirs.Next()
				} else {
					to += storage.SeriesRef(step)
					a, b = ours.Seek(to), theirs.Seek(to)
				}
				require.Equal(t, b, a)
				if !a {
					break
				}
				require.Equal(t, theirs.At(), ours.At())
			}
		}
	})
}

func FuzzSelection(f *testing.F) {
	for _, s := range selectiontest.Selectors {
		f.Add(s)
	}
	f.Add("up{")
	f.Add("{\"a.b\"=\"c\"}")
	f.Add("\n\xff{")
	x, h, listed := filled(f, 50)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := selectiontest.Parse(text)
		if err != nil {
			var wrong *selection.SyntaxError
			require.ErrorAs(t, err, &wrong)
			return
		}
		requireSame(t, x, h, listed, s)
	})
}
