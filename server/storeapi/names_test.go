package storeapi

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/server/selection"
)

// writePods writes two logs, with series of two times.
func writePods(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, pod := range []string{"a", "b"} {
		w := newLogWriter(t, dir)
		w.float(labels.FromStrings("__name__", "old", "pod", pod, "gone", "1"), 1000, 1)
		w.append(1000)
		w.float(labels.FromStrings("__name__", "new", "pod", pod, "replica", "own"), 60_000, 1)
		w.append(60_000)
		w.close()
	}
	return dir
}

func TestLabelNames(t *testing.T) {
	dir := writePods(t)
	for name, span := range map[string]time.Duration{"window": time.Hour, "both": 30 * time.Second, "segments": 0} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, dir, span, "region=eu")
			for name, test := range map[string]struct {
				req  *thanos.LabelNamesRequest
				want []string
			}{
				"all":           {&thanos.LabelNamesRequest{Start: math.MinInt64, End: math.MaxInt64}, []string{"__name__", "gone", "pod", "region", "replica"}},
				"the first":     {&thanos.LabelNamesRequest{Start: math.MinInt64, End: math.MaxInt64, Limit: 2}, []string{"__name__", "gone"}},
				"of a time":     {&thanos.LabelNamesRequest{Start: 30_000, End: 90_000}, []string{"__name__", "pod", "region", "replica"}},
				"of no time":    {&thanos.LabelNamesRequest{Start: 90_000, End: 91_000}, nil},
				"of a series":   {&thanos.LabelNamesRequest{End: 90_000, Matchers: []*thanos.LabelMatcher{{Name: "gone", Value: "1"}}}, []string{"__name__", "gone", "pod", "region", "replica"}},
				"without some":  {&thanos.LabelNamesRequest{End: 90_000, WithoutReplicaLabels: []string{"replica", "pod"}}, []string{"__name__", "gone", "region"}},
				"of here":       {&thanos.LabelNamesRequest{Start: 30_000, End: 90_000, Matchers: []*thanos.LabelMatcher{{Name: "region", Value: "eu"}}}, []string{"__name__", "pod", "region", "replica"}},
				"of other ones": {&thanos.LabelNamesRequest{End: 90_000, Matchers: []*thanos.LabelMatcher{{Name: "region", Value: "us"}}}, nil},
			} {
				t.Run(name, func(t *testing.T) {
					res, err := s.labelNames(t.Context(), viewer, free, test.req)
					require.NoError(t, err)
					require.Equal(t, test.want, res.GetNames())
				})
			}
		})
	}
}

func TestLabelValues(t *testing.T) {
	dir := writePods(t)
	for name, span := range map[string]time.Duration{"window": time.Hour, "both": 30 * time.Second, "segments": 0} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, dir, span, "region=eu")
			for name, test := range map[string]struct {
				req  *thanos.LabelValuesRequest
				want []string
			}{
				"all":                  {&thanos.LabelValuesRequest{Label: "pod", End: 90_000}, []string{"a", "b"}},
				"the first":            {&thanos.LabelValuesRequest{Label: "pod", End: 90_000, Limit: 1}, []string{"a"}},
				"of a time":            {&thanos.LabelValuesRequest{Label: "__name__", Start: 30_000, End: 90_000}, []string{"new"}},
				"of a series":          {&thanos.LabelValuesRequest{Label: "__name__", End: 90_000, Matchers: []*thanos.LabelMatcher{{Name: "gone", Value: "1"}}}, []string{"old"}},
				"of the server":        {&thanos.LabelValuesRequest{Label: "replica", End: 90_000}, []string{"server"}},
				"of it, and a series":  {&thanos.LabelValuesRequest{Label: "region", End: 90_000, Matchers: []*thanos.LabelMatcher{{Name: "gone", Value: "1"}}}, []string{"eu"}},
				"of it, and no series": {&thanos.LabelValuesRequest{Label: "region", End: 90_000, Matchers: []*thanos.LabelMatcher{{Name: "gone", Value: "2"}}}, nil},
				"without it":           {&thanos.LabelValuesRequest{Label: "replica", End: 90_000, WithoutReplicaLabels: []string{"replica"}}, nil},
				"of nothing":           {&thanos.LabelValuesRequest{Label: "none", End: 90_000}, nil},
			} {
				t.Run(name, func(t *testing.T) {
					res, err := s.labelValues(t.Context(), viewer, free, test.req)
					require.NoError(t, err)
					require.Equal(t, test.want, res.GetValues())
				})
			}
			_, err := s.labelValues(t.Context(), viewer, free, &thanos.LabelValuesRequest{})
			require.ErrorContains(t, err, "there is no name")
		})
	}
}

// free is room for any answer.
func free(int64) error { return nil }

// Who may see some series learns nothing of others' labels, and an answer takes room.
func TestNamesAreOfWhatMayBeSeen(t *testing.T) {
	dir := writePods(t)
	s := openStore(t, dir, time.Hour)
	allowed, err := selection.DefaultLimits().Compile([]string{`{__name__="new",pod="a"}`})
	require.NoError(t, err)
	v := selection.Viewer{Peer: "peer", Allowed: allowed}
	names, err := s.labelNames(t.Context(), v, free, &thanos.LabelNamesRequest{End: 90_000})
	require.NoError(t, err)
	require.Equal(t, []string{"__name__", "pod", "replica"}, names.GetNames())
	values, err := s.labelValues(t.Context(), v, free, &thanos.LabelValuesRequest{Label: "pod", End: 90_000})
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, values.GetValues())
	values, err = s.labelValues(t.Context(), v, free, &thanos.LabelValuesRequest{Label: "replica", Start: 1, End: 2000})
	require.NoError(t, err)
	require.Empty(t, values.GetValues(), "it sees no series of that time")

	full := errors.New("full")
	room := func(bytes int64) error {
		require.Positive(t, bytes)
		return full
	}
	_, err = s.labelNames(t.Context(), viewer, room, &thanos.LabelNamesRequest{End: 90_000})
	require.ErrorIs(t, err, full)
	_, err = s.labelValues(t.Context(), viewer, room, &thanos.LabelValuesRequest{Label: "pod", End: 90_000})
	require.ErrorIs(t, err, full)

	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	_, err = s.labelNames(ctx, viewer, free, &thanos.LabelNamesRequest{End: 90_000})
	require.ErrorIs(t, err, gone)
}

func TestOldest(t *testing.T) {
	s := openStore(t, writePods(t), time.Hour)
	require.Equal(t, int64(1000), s.oldest())
	s.Samples.Replicas.SetListed(false)
	require.Equal(t, int64(math.MinInt64), s.oldest())
	before := time.Now().UnixMilli()
	require.GreaterOrEqual(t, openStore(t, t.TempDir(), time.Hour).oldest(), before)
}

func TestParseExternal(t *testing.T) {
	for name, test := range map[string]struct {
		texts []string
		want  string // or what is wrong
		wrong bool
	}{
		"none":             {nil, "replica=server", false},
		"another":          {[]string{"region=eu"}, "region=eu replica=server", false},
		"sorted":           {[]string{"z=1", "a=1"}, "a=1 replica=server z=1", false},
		"replica":          {[]string{"replica=x"}, "replica=x", false},
		"no replica":       {[]string{"replica="}, "", false},
		"equals in it":     {[]string{"a=b=c"}, "a=b=c replica=server", false},
		"twice":            {[]string{"a=1", "a=2"}, "twice", true},
		"replica twice":    {[]string{"replica=", "replica=1"}, "twice", true},
		"no value":         {[]string{"a="}, "not NAME=VALUE", true},
		"no name":          {[]string{"=1"}, "not the name", true},
		"neither":          {[]string{"a"}, "not NAME=VALUE", true},
		"name of a metric": {[]string{"__name__=a"}, "not the name", true},
		"not UTF-8":        {[]string{"a=\xff"}, "not UTF-8", true},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := ParseExternal(test.texts, "server")
			if test.wrong {
				require.ErrorContains(t, err, test.want)
				return
			}
			require.NoError(t, err)
			text := ""
			for _, l := range e.list {
				text += " " + l.Name + "=" + l.Value
			}
			if test.want != "" {
				test.want = " " + test.want
			}
			require.Equal(t, test.want, text)
		})
	}
}
