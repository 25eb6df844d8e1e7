package replica

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/seglog"
)

const (
	// stuckTime is how long it may take to write and apply a few blocks. To force
	// a whole segment to the disk, when it ends, is part of it.
	stuckTime = 5 * time.Second
	// failedTime is how long a failure counts after the forwarder has left. As
	// long as there is one it comes again sooner than that.
	failedTime = 15 * time.Second
)

// Reasons for which a log does not get on.
var (
	errStuck   = errors.New("the log does not get on: what came is neither written nor applied")
	errFailing = errors.New("the log cannot be written or applied")
)

// health says whether a log gets on: whether what comes can be written and
// applied. A log that nobody feeds is healthy.
type health struct {
	began  atomic.Int64 // when the append that is under way began; 0: there is none
	failed atomic.Int64 // when the last one failed; 0: all is well since
}

var epoch = time.Now()

// sinceEpoch is a time that no change of the clock touches, and not zero.
func sinceEpoch() int64 { return int64(time.Since(epoch)) + 1 }

// watch runs what writes or applies.
func (h *health) watch(appending func() error) error {
	h.began.Store(sinceEpoch())
	defer h.began.Store(0)
	err := appending()
	if errors.Is(err, seglog.ErrBroken) {
		h.fail()
	}
	return err
}

func (h *health) fail() { h.failed.Store(sinceEpoch()) }

// recover says that blocks were written and applied, or that none are missing.
func (h *health) recover() { h.failed.Store(0) }

// check says what is wrong at a time. fed says that there is a forwarder.
func (h *health) check(now int64, fed bool) error {
	if began := h.began.Load(); began != 0 && now-began > int64(stuckTime) {
		return errStuck
	}
	if failed := h.failed.Load(); failed != 0 && (fed || now-failed < int64(failedTime)) {
		return errFailing
	}
	return nil
}
