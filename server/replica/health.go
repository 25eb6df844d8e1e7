package replica

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/seglog"
)

const (
	// stuckTime is how long it may take to write and apply a few blocks, including the
	// sync of a whole segment at its end.
	stuckTime = 5 * time.Second
	// failedTime is how long a failure counts after the forwarder has left. While there
	// is one, it retries sooner than that.
	failedTime = 15 * time.Second
)

// Why blocks are not appended.
var (
	errStuck   = errors.New("the log does not get on: what came is neither written nor applied")
	errFailing = errors.New("the log cannot be written or applied")
)

// health says whether what comes can be written and applied. A log that nobody feeds
// is healthy.
type health struct {
	began  atomic.Int64 // when the append under way began; 0: there is none
	failed atomic.Int64 // when the last one failed; 0: none has failed since
}

var epoch = time.Now()

// sinceEpoch is the monotonic time, which is never zero.
func sinceEpoch() int64 { return int64(time.Since(epoch)) + 1 }

// watch runs f, which appends.
func (h *health) watch(f func() error) error {
	h.began.Store(sinceEpoch())
	defer h.began.Store(0)
	err := f()
	if errors.Is(err, seglog.ErrBroken) {
		h.fail()
	}
	return err
}

func (h *health) fail() { h.failed.Store(sinceEpoch()) }

// recover notes that blocks were written and applied, or that none are missing.
func (h *health) recover() { h.failed.Store(0) }

// check says what is wrong at a time, and whether there is a forwarder then.
func (h *health) check(now int64, fed bool) error {
	if began := h.began.Load(); began != 0 && now-began > int64(stuckTime) {
		return errStuck
	}
	if failed := h.failed.Load(); failed != 0 && (fed || now-failed < int64(failedTime)) {
		return errFailing
	}
	return nil
}
