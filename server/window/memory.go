package window

import (
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	minTime = math.MinInt64
	maxTime = math.MaxInt64
)

// Options of the windows of a server.
type Options struct {
	// Span that the log's time goes on by while a sample is kept. 0: there are no windows.
	Span time.Duration
	// Bytes that all windows together may take, by estimate.
	Bytes  int64
	Logger *slog.Logger
}

// Memory is what the windows of a server share.
type Memory struct {
	o     Options
	bytes atomic.Int64

	mu      sync.Mutex
	windows []*Window
	short   atomic.Bool // windows are shorter than the span
}

// NewMemory returns the memory of the windows of a server.
func NewMemory(o Options) *Memory { return &Memory{o: o} }

func (m *Memory) add(w *Window) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.windows = append(m.windows, w)
}

func (m *Memory) remove(w *Window) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.windows = slices.DeleteFunc(m.windows, func(other *Window) bool { return other == w })
}

// fit drops the oldest samples of the largest windows until there is room. The caller
// holds no window's lock.
func (m *Memory) fit() {
	if m.bytes.Load() <= m.o.Bytes {
		if m.short.Load() {
			m.recover()
		}
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.bytes.Load() > m.o.Bytes {
		if largest := m.largest(); largest == nil || !largest.shorten() {
			return
		}
		if !m.short.Swap(true) {
			m.o.Logger.Warn("the windows of recent samples are shorter than --query.window, as --limit.window-bytes is reached: queries read the rest from the disk", "bytes", m.o.Bytes)
		}
	}
}

// largest returns the window that takes the most or, if there is one, one of a log that
// nobody has fed for a span.
func (m *Memory) largest() *Window {
	var largest *Window
	var most int64
	for _, w := range m.windows {
		n, idle := w.weight()
		if idle && n > 0 {
			return w
		}
		if n > most {
			largest, most = w, n
		}
	}
	return largest
}

func (w *Window) weight() (bytes int64, idle bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes, time.Since(w.applied) > w.memory.o.Span
}

// recover notes that windows are as long as they should be, if all are.
func (m *Memory) recover() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.windows, (*Window).isShort) || !m.short.Swap(false) {
		return
	}
	m.o.Logger.Info("the windows of recent samples are as long as --query.window again")
}

// steps is in how many steps a window loses a span when memory is short.
const steps = 16

// shorten drops the oldest samples, and says whether there were any.
func (w *Window) shorten() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	oldest := w.oldest() + w.span/steps
	had := w.bytes > 0
	if oldest > w.clock || time.Since(w.applied) > w.memory.o.Span {
		w.clear()
		return had
	}
	w.dropped = oldest
	w.sweep()
	return had
}

func (w *Window) isShort() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped > w.clock-w.span
}

// Stats says how much a window has.
type Stats struct {
	Bytes, Samples int64
	// Floor is that of a view, in ms.
	Floor int64
}

// Stats returns how much the window has.
func (w *Window) Stats() Stats {
	if w == nil {
		return Stats{Floor: maxTime}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return Stats{Bytes: w.bytes, Samples: w.samples, Floor: w.floor()}
}
