package daemon

import (
	"context"
	"log/slog"

	"github.com/promgrpc/exporter/internal/throttle"
)

// toolkitLog takes the errors that exporter-toolkit logs, once a request. The rest
// says in its words what LogListening did.
type toolkitLog struct{ log *throttle.Logger }

// Enabled implements [slog.Handler].
func (toolkitLog) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

// Handle implements [slog.Handler].
func (t toolkitLog) Handle(_ context.Context, r slog.Record) error {
	args := []any{"problem", r.Message}
	r.Attrs(func(a slog.Attr) bool {
		args = append(args, a)
		return true
	})
	t.log.Log(r.Level, "http server refuses requests", args...)
	return nil
}

// WithAttrs implements [slog.Handler]. The toolkit does not call it.
func (t toolkitLog) WithAttrs([]slog.Attr) slog.Handler { return t }

// WithGroup implements [slog.Handler]. The toolkit does not call it.
func (t toolkitLog) WithGroup(string) slog.Handler { return t }
