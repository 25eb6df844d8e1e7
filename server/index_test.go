package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// lists is as much of an index as tsdb.PostingsForMatchers asks for.
type lists struct {
	tsdb.IndexReader
	of *index.MemPostings
}

func (l lists) Postings(ctx context.Context, name string, values ...string) (index.Postings, error) {
	return l.of.Postings(ctx, name, values...), nil
}

func (l lists) PostingsForLabelMatching(ctx context.Context, name string, match func(string) bool) index.Postings {
	return l.of.PostingsForLabelMatching(ctx, name, match)
}

func (l lists) PostingsForAllLabelValues(ctx context.Context, name string) index.Postings {
	return l.of.PostingsForAllLabelValues(ctx, name)
}

func filledHead(t testing.TB, p *postings, series int) *head.Head {
	h := head.New(head.WithObserver(p))
	random := rand.New(rand.NewPCG(1, 2))
	b := &segment.Block{Sequence: 1}
	for i := range series {
		ls := segment.Labels{{Name: "__name__", Value: fmt.Sprintf("m%d", i%7)}}
		for _, name := range []string{"a", "b", "c"} {
			if v := random.IntN(6); v > 0 {
				ls = append(ls, segment.Label{Name: name, Value: fmt.Sprint(v)})
			}
		}
		b.Series = append(b.Series, segment.Series{Ref: uint64(i + 1), Labels: ls})
	}
	require.NoError(t, h.ApplyBlock(b))
	return h
}

var someSelectors = []string{
	`m1`, `{a="1"}`, `{a=""}`, `{a!=""}`, `{a!="1"}`, `{a=~"1|2"}`, `{a!~"1|2"}`, `{a=~".*"}`, `{a=~".+"}`, `{a!~".+"}`, `{a!~".*"}`,
	`{a=~"|1"}`, `{a!~"|1"}`, `{a=~"[12]",b!="3"}`, `m1{a="1",a!="2",b=~".+",c=""}`, `{nothing=""}`, `{nothing!=""}`, `{nothing="x"}`,
	`{a="",b="",c=""}`, `{__name__=~"m[13]",c!~"[0-3]"}`, `{a=~"1",a=~"2"}`, `{a=~"(?i)1"}`,
}

// The references found are those that Prometheus finds, and those whose labels
// match one by one.
func TestFindAgreesWithPrometheus(t *testing.T) {
	p := newPostings()
	h := filledHead(t, p, 2000)
	ctx := context.Background()
	for _, text := range someSelectors {
		s, err := parseSelection([]string{text})
		require.NoError(t, err)
		got, err := p.find(ctx, s)
		require.NoError(t, err)

		theirs, err := tsdb.PostingsForMatchers(ctx, lists{of: p.lists}, slices.Clone(s[0])...)
		require.NoError(t, err)
		var want []uint64
		for theirs.Next() {
			want = append(want, uint64(theirs.At()))
		}
		require.NoError(t, theirs.Err())
		require.ElementsMatch(t, want, got, text)
		require.True(t, slices.IsSorted(got))

		m := newMatched(s)
		for ref := uint64(1); ref <= 2000; ref++ {
			for range 2 {
				require.Equal(t, slices.Contains(got, ref), m.has(ref, h), "%s of %d", text, ref)
			}
		}
	}
	some, err := parseSelection([]string{`m1`, `m2`, `m1{a="1"}`})
	require.NoError(t, err)
	refs, err := p.find(ctx, some)
	require.NoError(t, err)
	require.True(t, slices.IsSorted(refs))
	require.Len(t, slices.Compact(slices.Clone(refs)), len(refs))
	for _, everything := range [][]string{nil, {`{}`}, {`m1`, `{}`}} {
		s, err := parseSelection(everything)
		require.NoError(t, err)
		refs, err := p.find(ctx, s)
		require.NoError(t, err)
		require.Len(t, refs, 2000)
	}
}

func TestTidy(t *testing.T) {
	p := newPostings()
	h := filledHead(t, p, 100)
	keyframe := &segment.Keyframe{Sequence: 1, NextRef: 101, Last: true}
	for ref := uint64(1); ref <= 10; ref++ {
		ls, _ := h.Labels(ref, nil)
		keyframe.Series = append(keyframe.Series, segment.Series{Ref: ref, Labels: ls})
		keyframe.Latest = append(keyframe.Latest, segment.Latest{None: true})
	}
	require.NoError(t, h.ApplyKeyframe(keyframe))
	refs, err := p.find(context.Background(), nil)
	require.NoError(t, err)
	require.Len(t, refs, 100)
	p.tidy(h)
	refs, err = p.find(context.Background(), nil)
	require.NoError(t, err)
	require.Len(t, refs, 10)
	p.tidy(h)
}

func TestPointAt(t *testing.T) {
	for _, tt := range []struct {
		text        string
		position    int
		line, caret string
	}{
		{"up{", 3, "up{", "   ^"},
		{"up\n\t{a?}\n", 5, " {a?}", "  ^"},
		{"ü?", 2, "ü?", " ^"},
		{"", 99, "", "^"},
		{"\xff?", -1, "�?", "^"},
	} {
		line, caret := pointAt(tt.text, tt.position)
		require.Equal(t, tt.line, line)
		require.Equal(t, tt.caret, caret)
	}
}

func FuzzSelection(f *testing.F) {
	for _, s := range someSelectors {
		f.Add(s)
	}
	f.Add("up{")
	f.Add("{\"a.b\"=\"c\"}")
	f.Add("\n\xff{")
	p := newPostings()
	h := filledHead(f, p, 50)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSelection([]string{text})
		if err != nil {
			require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
			return
		}
		got, err := p.find(context.Background(), s)
		require.NoError(t, err)
		m := newMatched(s)
		for ref := uint64(1); ref <= 50; ref++ {
			require.Equal(t, slices.Contains(got, ref), m.has(ref, h))
		}
	})
}
