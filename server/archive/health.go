package archive

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/bucket"
)

const (
	leastPause = time.Second
	mostPause  = 30 * time.Second
	// sayEvery is how often it is said that the bucket fails.
	sayEvery = time.Minute
	// requestTime is how long a request may take beside its bytes, which come or go at
	// slowest bytes a second at least.
	requestTime = 30 * time.Second
	slowest     = 256 << 10
)

// health is how the bucket does. After a failure everybody who works on it waits, longer
// and longer, so that a bucket that is away is not asked by each log at its own pace.
type health struct {
	logger *slog.Logger
	least  time.Duration // between attempts

	mu       sync.Mutex
	err      error
	success  time.Time
	failures int
	said     time.Time
	retry    time.Time
}

// did notes what came of a request, and returns whether it succeeded: that an object is
// there already, or is not, is an answer.
func (h *health) did(err error) bool {
	ok := err == nil || errors.Is(err, bucket.ErrExists) || errors.Is(err, bucket.ErrNotFound)
	if !ok && errors.Is(err, context.Canceled) {
		return false
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if ok {
		if h.err != nil {
			h.logger.Info("bucket answers again", "after_failures", h.failures)
		}
		h.err, h.failures, h.success, h.said = nil, 0, now, time.Time{}
		return true
	}
	h.err = err
	h.retry = now.Add(backoff.Pause(h.least, mostPause, h.failures))
	h.failures++
	if now.Sub(h.said) >= sayEvery {
		h.said = now
		h.logger.Warn("bucket fails: what is not there stays on the disk, and is uploaded later", "err", err, "failures", h.failures)
	}
	return false
}

// wait waits until it may be tried again after a failure.
func (h *health) wait(ctx context.Context) error { return h.waitAtMost(ctx, mostPause) }

// waitToRead is wait for who reads what somebody waits for: it may be writing alone that
// fails.
func (h *health) waitToRead(ctx context.Context) error { return h.waitAtMost(ctx, h.least) }

func (h *health) waitAtMost(ctx context.Context, most time.Duration) error {
	h.mu.Lock()
	pause := time.Duration(0)
	if h.err != nil {
		pause = min(time.Until(h.retry), most)
	}
	h.mu.Unlock()
	return backoff.Sleep(ctx, pause)
}

func (h *health) state() (success time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.success, h.err
}

// within bounds a request for so many bytes.
func within(ctx context.Context, bytes int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestTime+time.Duration(bytes/slowest)*time.Second)
}
