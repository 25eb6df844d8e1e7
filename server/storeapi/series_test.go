package storeapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/selection"
)

var viewer = selection.Viewer{Peer: "peer"}

// everything asks for all series.
func everything() *thanos.SeriesRequest {
	return &thanos.SeriesRequest{MinTime: math.MinInt64, MaxTime: math.MaxInt64}
}

// textsOf are the labels of series as text.
func textsOf(all []one) []string {
	list := []string{}
	for _, s := range all {
		list = append(list, s.labels.String())
	}
	return list
}

// A label of the server can change which of two series comes first, and one that is removed
// can, too.
func TestOrderIsThatOfWhatIsSent(t *testing.T) {
	dir := t.TempDir()
	w := newLogWriter(t, dir)
	for _, ls := range []labels.Labels{
		labels.FromStrings("__name__", "m"),
		labels.FromStrings("__name__", "m", "a", "1"),
		labels.FromStrings("__name__", "m", "zone", "1"),
		labels.FromStrings("__name__", "m", "pair", "1", "zone", "2"),
		labels.FromStrings("__name__", "m", "pair", "2", "zone", "1"),
		labels.FromStrings("__name__", "m", "region", "own"),
	} {
		w.float(ls, 1000, 1)
	}
	w.append(1000)
	w.close()
	s := openStore(t, dir, time.Hour, "region=eu", "replica=")
	for name, test := range map[string]struct {
		without []string
		want    []string
	}{
		"all labels": {nil, []string{
			`{__name__="m", a="1", region="eu"}`,
			`{__name__="m", pair="1", region="eu", zone="2"}`,
			`{__name__="m", pair="2", region="eu", zone="1"}`,
			`{__name__="m", region="eu"}`,
			`{__name__="m", region="eu"}`, // a label of its own gave way
			`{__name__="m", region="eu", zone="1"}`,
		}},
		"without those of pairs": {[]string{"pair"}, []string{
			`{__name__="m", a="1", region="eu"}`,
			`{__name__="m", region="eu"}`,
			`{__name__="m", region="eu"}`,
			`{__name__="m", region="eu", zone="1"}`,
			`{__name__="m", region="eu", zone="1"}`,
			`{__name__="m", region="eu", zone="2"}`,
		}},
		"without the server's": {[]string{"region", "none"}, []string{
			`{__name__="m"}`,
			`{__name__="m"}`,
			`{__name__="m", a="1"}`,
			`{__name__="m", pair="1", zone="2"}`,
			`{__name__="m", pair="2", zone="1"}`,
			`{__name__="m", zone="1"}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			req := everything()
			req.WithoutReplicaLabels = test.without
			got, err := ask(t, s, viewer, req)
			require.NoError(t, err)
			require.Equal(t, test.want, textsOf(got))
		})
	}
}

// Matchers of the server's labels are answered without a look at series.
func TestMatchers(t *testing.T) {
	dir := t.TempDir()
	w := newLogWriter(t, dir)
	for i := range 3 {
		w.float(labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)), 1000, 1)
	}
	w.append(1000)
	w.close()
	s := openStore(t, dir, time.Hour, "region=eu")
	type m = thanos.LabelMatcher
	const eq, neq, re, nre = thanos.LabelMatcher_EQ, thanos.LabelMatcher_NEQ, thanos.LabelMatcher_RE, thanos.LabelMatcher_NRE
	for name, test := range map[string]struct {
		matchers []*m
		want     int
		invalid  bool
	}{
		"none":                     {nil, 3, false},
		"a label":                  {[]*m{{Type: eq, Name: "i", Value: "1"}}, 1, false},
		"another value":            {[]*m{{Type: neq, Name: "i", Value: "1"}}, 2, false},
		"an expression":            {[]*m{{Type: re, Name: "i", Value: "[01]"}}, 2, false},
		"not an expression":        {[]*m{{Type: nre, Name: "i", Value: "[01]"}}, 1, false},
		"a label that is not":      {[]*m{{Type: eq, Name: "none", Value: ""}}, 3, false},
		"one that has to be":       {[]*m{{Type: neq, Name: "none", Value: ""}}, 0, false},
		"the region":               {[]*m{{Type: eq, Name: "region", Value: "eu"}}, 3, false},
		"the region and a label":   {[]*m{{Type: re, Name: "region", Value: "eu|us"}, {Type: eq, Name: "i", Value: "1"}}, 1, false},
		"another region":           {[]*m{{Type: eq, Name: "region", Value: "us"}}, 0, false},
		"no region":                {[]*m{{Type: eq, Name: "region", Value: ""}}, 0, false},
		"the server":               {[]*m{{Type: eq, Name: "replica", Value: "server"}}, 3, false},
		"another server":           {[]*m{{Type: nre, Name: "replica", Value: "ser.*"}}, 0, false},
		"a name in quotes":         {[]*m{{Type: eq, Name: `a"b`, Value: "\n"}}, 0, false},
		"no name":                  {[]*m{{Type: eq, Name: "", Value: "1"}}, 0, true},
		"not a type":               {[]*m{{Type: 4, Name: "i", Value: "1"}}, 0, true},
		"below all types":          {[]*m{{Type: -1, Name: "i", Value: "1"}}, 0, true},
		"not an expression at all": {[]*m{{Type: re, Name: "i", Value: "["}}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			req := everything()
			req.Matchers = test.matchers
			got, err := ask(t, s, viewer, req)
			if test.invalid {
				require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), "%v", err)
				return
			}
			require.NoError(t, err)
			require.Len(t, got, test.want)
		})
	}
}

// Expressions that would take long to compile are not compiled, those of the server's labels
// neither.
func TestLargeExpressionsAreRefused(t *testing.T) {
	s := openStore(t, t.TempDir(), time.Hour, "region=eu")
	for _, name := range []string{"i", "region"} {
		req := everything()
		req.Matchers = []*thanos.LabelMatcher{{Type: thanos.LabelMatcher_RE, Name: name, Value: strings.Repeat("(x{1000})", int(selection.DefaultLimits().SelectorSize/1000)+1)}}
		_, err := ask(t, s, viewer, req)
		var over *limit.Error
		require.ErrorAs(t, err, &over)
		require.Equal(t, selection.FlagSelectorSize, "--limit."+over.Name)
	}
}

// What a viewer may not see is not there, whatever it asks for.
func TestViewersSeeWhatTheyMay(t *testing.T) {
	dir := t.TempDir()
	w := newLogWriter(t, dir)
	for _, team := range []string{"a", "b"} {
		w.float(labels.FromStrings("__name__", "m_"+team, "team", team), 1000, 1)
	}
	w.append(1000)
	w.close()
	for name, span := range map[string]time.Duration{"window": time.Hour, "segments": 0} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, dir, span)
			allowed, err := selection.DefaultLimits().Compile([]string{`{team="a"}`})
			require.NoError(t, err)
			v := selection.Viewer{Peer: "peer", Allowed: allowed}
			for _, matchers := range [][]*thanos.LabelMatcher{nil, {{Type: thanos.LabelMatcher_EQ, Name: "replica", Value: "server"}}, {{Type: thanos.LabelMatcher_NEQ, Name: model.MetricNameLabel}}} {
				req := everything()
				req.Matchers = matchers
				got, err := ask(t, s, v, req)
				require.NoError(t, err)
				require.Equal(t, []string{`{__name__="m_a", replica="server", team="a"}`}, textsOf(got))
				require.Equal(t, "1000 3ff0000000000000\n", got[0].samples)
			}
		})
	}
}

// A series that is large comes in several responses, with all of its chunks.
func TestLargeSeriesComeInPieces(t *testing.T) {
	f := found{dict: newDictionary(relabelling{})}
	f.dict.of("__name__", "m")
	f.dict.rank()
	var written []byte
	at := int64(0)
	r := rand.New(rand.NewPCG(17, 0))
	for len(written) < 3*mostChunks {
		var points []chunk.Point
		for range 1000 {
			at += 1000
			points = append(points, chunk.Point{T: at, V: r.Float64()})
		}
		c := chunk.Floats(points, nil)
		written = f.encoder.one(written, &c)
	}
	var sent [][]byte
	out := sending{found: &f, send: func(envelopes []byte) error {
		sent = append(sent, bytes.Clone(envelopes))
		return nil
	}}
	require.NoError(t, out.series([]uint32{1}, written))
	require.NoError(t, out.flush())
	all := decode(t, bytes.Join(sent, nil), everything())
	require.Len(t, all, 3)
	var samples strings.Builder
	for _, piece := range all {
		require.Equal(t, labels.FromStrings("__name__", "m"), piece.labels)
		samples.WriteString(piece.samples)
	}
	require.Equal(t, at/1000, int64(strings.Count(samples.String(), "\n")))
}

// What is found has room, or the call ends; and it ends when nobody waits for it.
func TestSeriesEnds(t *testing.T) {
	dir := t.TempDir()
	w := newLogWriter(t, dir)
	for i := range 3 * heldEvery {
		w.float(labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)), 1000, 1)
	}
	w.append(1000)
	w.close()
	for name, span := range map[string]time.Duration{"window": time.Hour, "segments": 0} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, dir, span)
			memory := limit.NewBudget("--limit.policy-bytes", "bytes", firstBlock, firstBlock)
			v := selection.Viewer{Peer: "peer", Memory: memory}
			_, err := ask(t, s, v, everything())
			var over *limit.Error
			require.ErrorAs(t, err, &over)
			require.Zero(t, memory.Used())

			gone := errors.New("gone")
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(gone)
			err = s.series(ctx, viewer, everything(), func([]byte) error { return nil })
			require.ErrorIs(t, err, gone)

			err = s.series(t.Context(), viewer, everything(), func([]byte) error { return gone })
			require.ErrorIs(t, err, gone)
		})
	}
}

// While an evaluation has the only turn, a call waits for it.
func TestCallsTakeTurns(t *testing.T) {
	s := openStore(t, t.TempDir(), time.Hour)
	var ends []func()
	for range promql.DefaultConfig().Queries {
		_, end, err := s.Engine.Turn(t.Context(), viewer)
		require.NoError(t, err)
		ends = append(ends, end)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.series(ctx, viewer, everything(), func([]byte) error { return nil })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	for _, end := range ends {
		end()
	}
	require.NoError(t, s.series(t.Context(), viewer, everything(), func([]byte) error { return nil }))
}
