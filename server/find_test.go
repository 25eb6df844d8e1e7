package server

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// growing applies blocks of new series to a state, and now and then a keyframe
// that drops most of what there is, so that labels are renumbered.
type growing struct {
	state
	sequence, ref uint64
}

const keyframeEvery = 20

func (g *growing) apply() error {
	g.sequence++
	var series []segment.Series
	b := &segment.Block{Sequence: g.sequence, Time: 1}
	for range 50 {
		g.ref++
		series = append(series, segment.Series{Ref: g.ref, Labels: segment.Labels{
			{Name: "__name__", Value: fmt.Sprintf("m%d", g.ref%3)},
			{Name: "a", Value: fmt.Sprint(g.ref % 1000)},
			{Name: "job", Value: fmt.Sprint(g.ref / 25)},
		}})
		b.Samples.Add(segment.Sample{Ref: g.ref, Timestamp: 1, Value: 1})
	}
	b.Series = segment.TableOf(series...)
	k := &segment.Keyframe{Sequence: g.sequence, NextRef: g.ref + 1, Last: true}
	g.index.mu.Lock()
	defer g.index.mu.Unlock()
	if err := g.head.ApplyBlock(b); err != nil || g.sequence%keyframeEvery > 0 {
		return err
	}
	k.Series = segment.TableOf(series...)
	for range series {
		k.Latest = append(k.Latest, segment.Latest{Timestamp: 1, Value: 1, Written: 1})
	}
	return g.head.ApplyKeyframe(k)
}

// What is found while blocks are applied is what matches as of the view's block.
func TestFindWhileBlocksAreApplied(t *testing.T) {
	g := &growing{state: newState()}
	require.NoError(t, g.apply())
	var applying, finding sync.WaitGroup
	var done atomic.Bool
	applying.Go(func() {
		defer done.Store(true)
		for range 10 * keyframeEvery {
			if err := g.apply(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for _, text := range []string{`m1`, `m1{a=~".*7.*"}`, `{a!~".*7.*",job=~".+[13]"}`, `{a="",job!="3"}`, `{job!="",a=~"1|2|3",__name__!="m2"}`} {
		s, err := parseSelection(text)
		require.NoError(t, err)
		finding.Go(func() {
			for !done.Load() {
				checkAsOfView(t, g.state, s)
			}
		})
	}
	applying.Wait()
	finding.Wait()
}

func checkAsOfView(t *testing.T, st state, s *selection) {
	e := newEvaluation(t.Context())
	defer e.end()
	found, err := st.snapshot(e, s, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer found.view.Release()
	var got, want []uint64
	for ref := range found.series() {
		got = append(got, ref)
	}
	var ls segment.Labels
	found.view.Each(0, func(ref uint64, _ *segment.Latest) bool {
		if ls, _ = found.view.Labels(ref, ls[:0]); s.matches(ls) {
			want = append(want, ref)
		}
		return true
	})
	assert.Equal(t, want, got)
}

// FuzzPlaceSet compares a set with a list of booleans.
func FuzzPlaceSet(f *testing.F) {
	f.Add([]byte{0, 200, 3, 4, 63, 65, 64, 64, 0, 0})
	f.Fuzz(func(t *testing.T, bounds []byte) {
		want, got := make([]bool, 256), newPlaceSet(256)
		for i := 0; i+1 < len(bounds); i += 2 {
			r := placeRun{uint32(min(bounds[i], bounds[i+1])), uint32(max(bounds[i], bounds[i+1]))}
			in := i%4 == 0
			for p := r.from; p < r.to; p++ {
				want[p] = in
			}
			if in {
				got.set(r)
			} else {
				got.unset(r)
			}
		}
		p, seen := &setPlaces{set: got}, make([]bool, 256)
		for p.Next() {
			seen[p.At()-1] = true
		}
		require.Equal(t, want, seen)
		require.False(t, p.Next())
	})
}

// One that has much to do lets others go on, and ends when its time or its call is
// over.
func TestEvaluationSlices(t *testing.T) {
	c := DefaultLimitConfig()
	c.Evaluations = 1
	all := newEvaluations(&c)
	ctx, cancel := context.WithCancel(t.Context())
	heavy := all.begin(ctx)
	require.NoError(t, heavy.step(1))
	var others sync.WaitGroup
	var done atomic.Int64
	const n = 5
	for range n {
		others.Go(func() {
			e := all.begin(t.Context())
			defer e.end()
			if err := e.step(1); err != nil {
				t.Error(err)
			}
			done.Add(1)
		})
	}
	for done.Load() < n {
		require.NoError(t, heavy.step(evaluationStep))
	}
	others.Wait()
	cancel()
	require.ErrorIs(t, heavy.step(evaluationStep), context.Canceled)
	heavy.end()
	require.Zero(t, all.turns.Used())
	require.Zero(t, all.room.Used())
}

// The time is that of its own work: it does not pass while others have the turn.
func TestEvaluationTime(t *testing.T) {
	c := DefaultLimitConfig()
	c.Evaluations, c.EvaluationTime = 1, time.Minute
	all := newEvaluations(&c)
	e := all.begin(t.Context())
	defer e.end()
	require.NoError(t, e.step(1))
	e.pause()
	e.began = e.began.Add(-time.Hour)
	require.NoError(t, e.step(evaluationStep))
	e.began = e.began.Add(-time.Hour)
	var over *limit.Error
	require.ErrorAs(t, e.step(evaluationStep), &over)
	require.Equal(t, "evaluation-time", over.Name)
	require.False(t, over.Passing)
}
