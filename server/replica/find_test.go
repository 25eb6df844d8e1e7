package replica

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
	"github.com/promgrpc/exporter/server/selection"
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
	g.index.Lock()
	defer g.index.Unlock()
	if err := g.Head.ApplyBlock(b); err != nil || g.sequence%keyframeEvery > 0 {
		return err
	}
	k.Series = segment.TableOf(series...)
	for range series {
		k.Latest = append(k.Latest, segment.Latest{Timestamp: 1, Value: 1, Written: 1})
	}
	return g.Head.ApplyKeyframe(k)
}

// What is found while blocks are applied is what matches as of the view's block.
func TestFindWhileBlocksAreApplied(t *testing.T) {
	g := &growing{state: newState(nil)}
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
		s, err := selectiontest.Parse(text)
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

func checkAsOfView(t *testing.T, st state, s *selection.Selection) {
	e := selectiontest.Evaluation(t.Context())
	defer e.End()
	found, err := st.Snapshot(e, s, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer found.View.Release()
	var got, want []uint64
	for ref := range found.Series() {
		got = append(got, ref)
	}
	var ls segment.Labels
	found.View.Each(0, func(ref uint64, _ *segment.Latest) bool {
		if ls, _ = found.View.Labels(ref, ls[:0]); s.Matches(ls) {
			want = append(want, ref)
		}
		return true
	})
	assert.Equal(t, want, got)
}
