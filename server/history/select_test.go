package history

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
	"github.com/promgrpc/exporter/server/selection"
)

func selections(t testing.TB) []*selection.Selection {
	var all []*selection.Selection
	for _, texts := range [][]string{nil, {`m1`}, {`{a="1"}`}, {`m2{a!="1",b=~"1.*"}`}, {`{a=~"1|2",b!~".*3"}`}, {`m0`, `{b=~"[0-9]"}`}, {`{c!=""}`}, {`{c="",a=""}`}} {
		s, err := selectiontest.Parse(texts...)
		require.NoError(t, err)
		all = append(all, s)
	}
	s, err := selectiontest.ParseAllowed([]string{`{a="1"}`}, []string{`m1`, `{__name__=~"m[02]",b=~"1.+"}`})
	require.NoError(t, err)
	return append(all, s)
}

// What is found is what a log was given, at any time and however it was cut into parts.
func TestSelectIsWhatTheLogHas(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWriting(t, seglog.Options{Sync: seglog.SyncNever})
		o := options()
		o.Sealed = seed%2 == 0
		s := openStore(t, w, o)
		if seed%3 == 0 {
			s.partBytes = 1 // a part a block
		}
		all := selections(t)
		for range 150 {
			w.randomBlock(r)
			switch r.IntN(20) {
			case 0:
				w.rotate(w.now - r.Int64N(100_000))
			case 1:
				sel := all[r.IntN(len(all))]
				from := w.now - r.Int64N(1_500_000)
				to := from + r.Int64N(500_000)
				require.Equal(t, w.want(sel, from, to), found(t, s, w.log(), sel, from, to), "seed %d", seed)
			case 2:
				s.sweep(w.longAfter())
			case 3:
				closeStore(t, s)
				parts := s.partBytes
				s = openStore(t, w, o)
				s.partBytes = parts
			}
		}
		for _, sel := range all {
			require.Equal(t, w.want(sel, math.MinInt64, math.MaxInt64), found(t, s, w.log(), sel, math.MinInt64, math.MaxInt64), "seed %d", seed)
		}
		closeStore(t, s)
	}
}

// With the flag, the part of a segment is there before anybody asks for it; the segment
// that is still written has none.
func TestPartsOfSealedSegments(t *testing.T) {
	w := filled(t, 40)
	o := options()
	o.Sealed = true
	s := openStore(t, w, o)
	defer closeStore(t, s)
	s.sweep(time.Now())
	require.Eventually(t, func() bool { return len(partsOf(t, s)) == 1 }, patience, time.Millisecond)
	sp, ok := parseName(filepath.Base(partsOf(t, s)[0]))
	require.True(t, ok)
	require.Equal(t, span{w.log().ID(), 1, 1, w.log().Segments()[1].FirstSequence - 1}, sp)
}

// Who asks again pays for the blocks that came since, and when a segment has been left
// alone often, its parts become one.
func TestSegmentsThatAreStillWritten(t *testing.T) {
	w := newWriting(t, seglog.Options{Sync: seglog.SyncNever})
	r := rand.New(rand.NewPCG(9, 9))
	s := openStore(t, w, options())
	defer closeStore(t, s)
	w.randomBlock(r)
	requireAll(t, w, s)
	en := s.entries[key{w.log().ID(), 1}]
	first := en.decoding
	for range 2 * mostParts {
		w.randomBlock(r)
		requireAll(t, w, s)
		require.Same(t, first, en.decoding)
	}
	for range 2 * mostParts {
		w.randomBlock(r)
		requireAll(t, w, s)
		s.sweep(w.longAfter())
		require.Eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return en.building == nil && en.decoding == nil
		}, patience, time.Millisecond)
		require.Zero(t, s.o.Memory.Used())
		require.Less(t, len(partsOf(t, s)), mostParts)
	}
	w.rotate(0)
	w.randomBlock(r)
	requireAll(t, w, s)
	s.sweep(time.Now())
	require.Eventually(t, func() bool { return len(partsOf(t, s)) == 1 }, patience, time.Millisecond)
	requireAll(t, w, s)
}

// Series are those that have samples, without reading them.
func TestSeries(t *testing.T) {
	w := filled(t, 60)
	s := openStore(t, w, options())
	defer closeStore(t, s)
	for _, sel := range selections(t) {
		for _, from := range []int64{math.MinInt64, w.now - 100_000} {
			e := selectiontest.Evaluation(t.Context())
			var got []string
			require.NoError(t, s.Series(e, w.log(), sel, from, math.MaxInt64, func(ls labels.Labels) error {
				got = append(got, ls.String())
				return nil
			}))
			e.End()
			require.Subset(t, got, slices.Collect(maps.Keys(w.want(sel, from, math.MaxInt64))))
			if from == math.MinInt64 {
				require.Len(t, got, len(w.want(sel, from, math.MaxInt64)))
			}
		}
	}
}

// A selection ends with its caller, and with the first error of whom it yields to.
func TestSelectionsEnd(t *testing.T) {
	w := filled(t, 60)
	s := openStore(t, w, options())
	defer closeStore(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	e := selectiontest.Evaluation(ctx)
	defer e.End()
	yields := 0
	wrong := errors.New("wrong")
	require.ErrorIs(t, s.Select(e, w.log(), selections(t)[0], math.MinInt64, math.MaxInt64, func(chunk.Series) error {
		yields++
		return wrong
	}), wrong)
	require.ErrorIs(t, s.Select(e, w.log(), selections(t)[0], math.MinInt64, math.MaxInt64, func(chunk.Series) error {
		yields++
		cancel()
		return nil
	}), context.Canceled)
	require.Equal(t, 2, yields)
}
