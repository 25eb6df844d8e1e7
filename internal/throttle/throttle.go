// Package throttle bounds log lines that outsiders can cause: a peer that sends junk, a
// client that is refused.
//
// Guaranteed: at most [Burst] lines of a message in an interval, and in the next line how
// many were suppressed. Not guaranteed: that there is a next line.
package throttle

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Burst is how many lines of a message are written in an interval: enough for what
// happens to a few peers at a time, as at a start.
const Burst = 5

// Logger writes each message at most [Burst] times an interval. Messages have to be
// constants, since it remembers each. It is safe for concurrent use.
type Logger struct {
	logger *slog.Logger
	every  time.Duration

	mu       sync.Mutex
	messages map[string]*message
}

type message struct {
	end        time.Time // of the interval
	written    int       // in it
	suppressed int
}

// New returns a Logger that writes to logger.
func New(logger *slog.Logger, every time.Duration) *Logger {
	return &Logger{logger: logger, every: every, messages: make(map[string]*message)}
}

// Log writes a line, or counts it as suppressed.
func (l *Logger) Log(level slog.Level, msg string, args ...any) {
	ctx := context.Background()
	if !l.logger.Enabled(ctx, level) {
		return
	}
	suppressed, ok := l.due(msg)
	if !ok {
		return
	}
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	l.logger.Log(ctx, level, msg, args...) //nolint:sloglint // The caller is asked for a constant.
}

// Writer returns a writer that logs the message for each Write, whose bytes become the
// attribute err.
func (l *Logger) Writer(level slog.Level, msg string) io.Writer {
	return writer{l, level, msg}
}

type writer struct {
	logger *Logger
	level  slog.Level
	msg    string
}

func (w writer) Write(p []byte) (int, error) {
	w.logger.Log(w.level, w.msg, "err", string(bytes.TrimSpace(p)))
	return len(p), nil
}

func (l *Logger) due(msg string) (suppressed int, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.messages[msg]
	if m == nil {
		m = &message{}
		l.messages[msg] = m
	}
	if !now.Before(m.end) {
		m.end, m.written = now.Add(l.every), 0
	}
	if m.written == Burst {
		m.suppressed++
		return 0, false
	}
	m.written++
	suppressed, m.suppressed = m.suppressed, 0
	return suppressed, true
}
