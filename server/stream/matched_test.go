package stream

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
)

// What is remembered of a series is what its labels say.
func TestMatchedAgreesWithTheSelection(t *testing.T) {
	h := head.New()
	random := rand.New(rand.NewPCG(1, 2))
	var series []segment.Series
	for i := range 2000 {
		ls := segment.Labels{{Name: "__name__", Value: fmt.Sprintf("m%d", i%7)}}
		for _, name := range []string{"a", "b", "c"} {
			if v := random.IntN(6); v > 0 {
				ls = append(ls, segment.Label{Name: name, Value: fmt.Sprint(v)})
			}
		}
		series = append(series, segment.Series{Ref: uint64(3*i + 1), Labels: ls})
	}
	require.NoError(t, h.ApplyBlock(&segment.Block{Sequence: 1, Series: segment.TableOf(series...)}))
	b := &segment.Block{}
	for ref := uint64(1); ref < h.NextRef(); ref++ {
		b.Samples.Add(segment.Sample{Ref: ref})
	}
	for _, texts := range [][]string{{`m1`}, {`m1{a=""}`, `{b=~"1|2"}`}, {`{a=~".*[12]",b!="3",c!~"4"}`}, nil, {`{}`}} {
		s, err := selectiontest.Parse(texts...)
		require.NoError(t, err)
		m := newMatched(s, selectiontest.Evaluation(t.Context()))
		for range 2 {
			require.NoError(t, m.observe(b, h))
			for i := range series {
				require.Equal(t, s.Matches(series[i].Labels), m.has(series[i].Ref))
			}
		}
	}
}

// What is known of dropped series does not stay as long as the stream.
func TestMatchedForgets(t *testing.T) {
	h := head.New()
	selected, err := selectiontest.Parse(`{i!="1"}`)
	require.NoError(t, err)
	m := newMatched(selected, selectiontest.Evaluation(t.Context()))
	most := int64(0)
	for sequence := uint64(1); sequence <= 40*prunePages; sequence++ {
		b := &segment.Block{Sequence: sequence, Time: int64(sequence)}
		ref := sequence * refset.PageSize
		b.Series = segment.TableOf(segment.Series{Ref: ref, Labels: segment.Labels{{Name: "i", Value: fmt.Sprint(sequence % 2)}}})
		b.Samples.Add(segment.Sample{Ref: ref})
		require.NoError(t, h.ApplyBlock(b))
		require.NoError(t, m.observe(b, h))
		require.Equal(t, sequence%2 == 0, m.has(ref))
		if sequence%10 == 0 {
			h.Expire(int64(sequence-10), nil)
			require.NoError(t, h.Keyframe(func(*segment.Keyframe) error { return nil }))
		}
		m.prune(h)
		most = max(most, m.bytes())
	}
	require.Less(t, most, int64(2*prunePages*2*refset.PageBytes))
	require.True(t, m.has(40*prunePages*refset.PageSize))
}
