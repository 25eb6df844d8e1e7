package samples

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/history"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/window"
)

const bytes = 1 << 30

// writeLog writes a log of so many seconds to a folder: a sample a second of each of some
// series, which are called m and have a label i, two seconds late.
func writeLog(t *testing.T, dir string, seconds int64, series ...int) {
	t.Helper()
	o := seglog.DefaultOptions()
	o.RetentionTime, o.Sync, o.Now = 0, seglog.SyncNever, func() time.Time { return time.UnixMilli(0) }
	store, err := seglog.OpenStore(dir, o)
	require.NoError(t, err)
	h := head.New()
	w, err := store.CreateWriter(h)
	require.NoError(t, err)
	for second := range seconds {
		b := &segment.Block{Time: 1000 * (second + 2)}
		var added []segment.Series
		for ref, i := range series {
			if second == 0 {
				added = append(added, segment.Series{Ref: uint64(ref + 1), Labels: segment.Labels{{Name: "__name__", Value: "m"}, {Name: "i", Value: strconv.Itoa(i)}}})
			}
			b.Samples.Add(segment.Sample{Ref: uint64(ref + 1), Timestamp: 1000 * second, Value: float64(i)})
		}
		b.Series = segment.TableOf(added...)
		_, err := w.Append(b)
		require.NoError(t, err)
		require.NoError(t, h.ApplyBlock(b))
	}
	require.NoError(t, w.Close())
	require.NoError(t, store.Close())
}

// open returns a store of the logs of a folder, the windows of which have the last seconds,
// and the hold of one who asks.
func open(t *testing.T, dir string, seconds int64) (*Store, *limit.Hold) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	logs, err := seglog.OpenStore(dir, seglog.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, logs.Close()) })
	replicas, err := replica.Open(logs, window.NewMemory(window.Options{Span: time.Duration(seconds) * time.Second, Bytes: bytes, Logger: logger}), logger)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, replicas.Close()) })
	memory := limit.NewBudget("--limit.memory", "bytes", bytes, bytes)
	index, err := history.Open(logs, history.Options{Bytes: bytes, Memory: memory, Decodes: limit.NewBudget("--limit.decodes", "turns", 4, 4), Logger: logger})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, index.Close()) })
	l := selection.DefaultLimits()
	held := memory.Hold("peer")
	t.Cleanup(held.Release)
	return &Store{
		Replicas: replicas, History: index,
		Evaluations: selection.NewEvaluations(l, limit.NewBudget(selection.FlagEvaluationBytes, "bytes", int64(l.EvaluationBytes), int64(l.EvaluationBytes))),
	}, held
}

func matchers(name string, t labels.MatchType, value string) [][]*labels.Matcher {
	return [][]*labels.Matcher{{labels.MustNewMatcher(t, name, value)}}
}

// samplesOf are the samples of a series that arrived before a time.
func samplesOf(t *testing.T, s *Series, before int64) (found []string) {
	t.Helper()
	var it Iterator
	it.Reset(s.Parts, before)
	for it.Next() != chunkenc.ValNone {
		at, v := it.At()
		found = append(found, fmt.Sprint(at, " ", v, " ", it.Arrival()))
	}
	require.NoError(t, it.Err())
	return found
}

var windows = map[string]int64{"segments": 0, "both": 5, "windows": 60}

// Series of several logs come once, sorted, with the samples of the time that is asked
// about, whether they are in memory or on the disk.
func TestSelect(t *testing.T) {
	for name, span := range windows {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeLog(t, dir, 10, 3, 1, 2)
			writeLog(t, dir, 10, 4, 2)
			store, held := open(t, dir, span)
			found, err := store.Select(t.Context(), selection.Viewer{Peer: "peer"}, held, Query{Sets: matchers("i", labels.MatchRegexp, "[1-3]"), From: 2000, To: 7999})
			require.NoError(t, err)
			require.Len(t, found, 3)
			for i, s := range found {
				require.Equal(t, labels.FromStrings("__name__", "m", "i", strconv.Itoa(i+1)), s.Labels)
				var all, early []string
				for second := int64(2); second < 8; second++ {
					text := fmt.Sprint(1000*second, " ", i+1, " ", 1000*(second+2))
					if all = append(all, text); second < 6 {
						early = append(early, text)
					}
				}
				require.Equal(t, all, samplesOf(t, s, chunk.All))
				require.Equal(t, early, samplesOf(t, s, 8000))
			}
			require.GreaterOrEqual(t, held.Held(), int64(3*(SeriesBytes+ChunkBytes)))
		})
	}
}

// Labels alone can be asked for. A viewer finds what it may see, and nothing is found of a
// time of which there is nothing.
func TestSelectLabels(t *testing.T) {
	for name, span := range windows {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeLog(t, dir, 10, 3, 1, 2)
			store, held := open(t, dir, span)
			e := store.Evaluations.New(t.Context(), selection.Viewer{Peer: "peer"})
			allowed := e.Select(matchers("i", labels.MatchNotEqual, "2")...)
			e.End()
			v := selection.Viewer{Peer: "peer", Allowed: &allowed}
			q := Query{Sets: matchers("__name__", labels.MatchEqual, "m"), From: math.MinInt64, To: math.MaxInt64, LabelsOnly: true}
			found, err := store.Select(t.Context(), v, held, q)
			require.NoError(t, err)
			require.Len(t, found, 2)
			require.Equal(t, "1", found[0].Labels.Get("i"))
			require.Equal(t, "3", found[1].Labels.Get("i"))
			q.From = 60_000
			found, err = store.Select(t.Context(), v, held, q)
			require.NoError(t, err)
			require.Empty(t, found)
		})
	}
}

// What has no room is not found, and nothing is looked for that nobody waits for.
func TestSelectEnds(t *testing.T) {
	for name, span := range windows {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeLog(t, dir, 10, 1, 2, 3)
			store, free := open(t, dir, span)
			const room = 2 * SeriesBytes
			held := limit.NewBudget("--limit.tight", "bytes", room, room).Hold("peer")
			defer held.Release()
			q := Query{Sets: matchers("__name__", labels.MatchEqual, "m"), To: 10_000}
			_, err := store.Select(t.Context(), selection.Viewer{Peer: "peer"}, held, q)
			var over *limit.Error
			require.ErrorAs(t, err, &over)
			require.Equal(t, "tight", over.Name)

			ctx, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("gone")
			cancel(gone)
			_, err = store.Select(ctx, selection.Viewer{Peer: "peer"}, free, q)
			require.ErrorIs(t, err, gone)
		})
	}
}

// counting counts what it is shown, of each log.
type counting struct{ windows, segments int }

func (c *counting) Window(recent *replica.Recent, _, _ int64) error {
	for range recent.From(0) {
		c.windows++
	}
	return nil
}

func (c *counting) Segments(chunk.Series, int64, int64) error { c.segments++; return nil }

// A visitor sees each log's series by itself.
func TestWalk(t *testing.T) {
	for name, want := range map[string]counting{"segments": {segments: 5}, "both": {windows: 5, segments: 5}, "windows": {windows: 5}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeLog(t, dir, 10, 3, 1, 2)
			writeLog(t, dir, 10, 4, 2)
			store, _ := open(t, dir, windows[name])
			var got counting
			require.NoError(t, store.Walk(t.Context(), selection.Viewer{Peer: "peer"}, Query{To: 20_000}, &got))
			require.Equal(t, want, got)
		})
	}
}
