package promql

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/history"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/window"
)

// logWriter writes a log as a forwarder does.
type logWriter struct {
	t      testing.TB
	store  *seglog.Store
	writer *seglog.Writer
	head   *head.Head
}

func newLogWriter(t testing.TB, dir string, at int64) *logWriter {
	t.Helper()
	o := seglog.DefaultOptions()
	o.RetentionTime, o.Sync, o.Now = 0, seglog.SyncNever, func() time.Time { return time.UnixMilli(at) }
	store, err := seglog.OpenStore(dir, o)
	require.NoError(t, err)
	w := &logWriter{t: t, store: store, head: head.New()}
	w.writer, err = store.CreateWriter(w.head)
	require.NoError(t, err)
	return w
}

func (w *logWriter) append(b *segment.Block) {
	w.t.Helper()
	_, err := w.writer.Append(b)
	require.NoError(w.t, err)
	require.NoError(w.t, w.head.ApplyBlock(b))
}

func (w *logWriter) close() {
	w.t.Helper()
	require.NoError(w.t, w.writer.Close())
	require.NoError(w.t, w.store.Close())
}

// openEngine returns an engine on the logs of a folder, with windows of a span.
func openEngine(t testing.TB, dir string, c Config, span time.Duration) *Engine {
	t.Helper()
	store, err := seglog.OpenStore(dir, seglog.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	windows := window.NewMemory(window.Options{Span: span, Bytes: 1 << 30, Logger: slog.New(slog.DiscardHandler)})
	replicas, err := replica.Open(store, windows, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, replicas.Close()) })
	l := selection.DefaultLimits()
	bytes := limit.NewBudget(FlagBytes, "bytes", int64(c.Bytes), int64(c.Bytes))
	index, err := history.Open(store, history.Options{
		Bytes: 1 << 30, Memory: bytes, Decodes: limit.NewBudget("--limit.decodes", "turns", 4, 4), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, index.Close()) })
	evaluations := selection.NewEvaluations(l, limit.NewBudget(selection.FlagEvaluationBytes, "bytes", int64(l.EvaluationBytes), int64(l.EvaluationBytes)))
	return New(c, Shared{
		Source:      &samples.Store{Replicas: replicas, History: index, Evaluations: evaluations},
		Logger:      slog.New(slog.DiscardHandler),
		Evaluations: evaluations,
		Bytes:       bytes,
		Turns:       limit.NewBudget(FlagQueries, "turns", int64(c.Queries), int64(c.Queries)),
	})
}

// logsOf returns the logs that an engine evaluates.
func logsOf(e *Engine) *replica.Set { return e.shared.Source.(*samples.Store).Replicas }
