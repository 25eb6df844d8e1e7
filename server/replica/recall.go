package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// A server that was filled from a bucket has the newest segment of a log on its disk, and
// the requests of the blocks before that are in the bucket alone: all of them, or those
// between what was on the disk before and what came. A sender may have repeated them at
// another forwarder since: so those of the blocks just before are read from there.

const (
	// RequestsBefore is of how many blocks before its first one in the bucket a stream
	// knows the requests, and of at least how many before what the disk has without a hole
	// a replica does.
	RequestsBefore = 8192
	// repeatedWithin is how long before the first segment of that a request may be that is
	// repeated in it: senders do not keep what is older for long.
	repeatedWithin = 10 * time.Minute
	// recallAgain is when a bucket that failed is asked again, at the least and the most.
	recallAgain, recallAgainMost = time.Second, time.Minute
)

// Recall adds the requests of the blocks up to one, as many as there are among the last
// limit, which may be in the bucket. It returns the oldest block that was looked at.
func (r *Replica) Recall(q *Requests, upTo, limit uint64, wait seglog.Wait) (oldest uint64, err error) {
	return r.Log.DigestsBefore(upTo, limit, wait, func(d [16]byte, v segment.Verdict, sequence uint64) {
		q.Add(d, Stored{sequence, v.Rejected})
	})
}

// withoutHole is from which block on the disk has all of a log, the next one if it has not
// the last.
func withoutHole(l *seglog.Log) uint64 {
	segments := l.Segments()
	first := l.Last() + 1
	for i := len(segments) - 1; i >= 0; i-- {
		s := &segments[i]
		if s.Remote || s.LastSequence+1 != first {
			break
		}
		first = s.FirstSequence
	}
	return first
}

// recallFrom is from which block on the replica is to know the requests, if it knows those
// from a block on.
func (r *Replica) recallFrom(first uint64) uint64 {
	last := r.Log.Last()
	from := first - min(RequestsBefore, first)
	segments := r.Log.Segments()
	var since time.Time
	for i := len(segments) - 1; i >= 0; i-- {
		s := &segments[i]
		if s.FirstSequence >= first {
			since = s.CreateTime.Add(-repeatedWithin)
			continue
		}
		from = min(from, s.FirstSequence)
		if s.CreateTime.Before(since) {
			break
		}
	}
	return max(from, last+1-min(seglog.RepeatWindow, last), 1)
}

// recall reads what the replica is to know, as far as the bucket has it.
func (r *Replica) recall(ctx context.Context) error {
	known := r.requests.oldest.Load()
	from := r.recallFrom(known)
	if known <= from || r.unusable.Load() {
		return nil
	}
	oldest, err := r.Recall(r.requests.kept.Load(), known-1, known-from, seglog.WaitFor(ctx))
	// Another hole may have come up meanwhile.
	r.requests.oldest.CompareAndSwap(known, oldest)
	if err != nil {
		return fmt.Errorf("read the digests of log %s: %w", r.ID, err)
	}
	return nil
}

// Recall has each log know the requests in the bucket that may be repeated on the disk.
func (rs *Set) Recall(ctx context.Context) error {
	select {
	case rs.recalling <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-rs.recalling }()
	var errs []error
	for _, r := range rs.All() {
		errs = append(errs, r.recall(ctx))
	}
	return errors.Join(errs...)
}

// recallSoon wakes RunRecall.
func (rs *Set) recallSoon() {
	select {
	case rs.recallable <- struct{}{}:
	default:
	}
}

// RunRecall calls Recall whenever there may be more to know, until ctx ends.
func (rs *Set) RunRecall(ctx context.Context) error {
	for failures := 0; ; {
		err := rs.Recall(ctx)
		if err == nil {
			failures = 0
			select {
			case <-rs.recallable:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if failures++; failures == 1 && ctx.Err() == nil {
			rs.logger.Warn("requests in the bucket are not known yet: what repeats them comes twice", "err", err)
		}
		if backoff.Sleep(ctx, backoff.Pause(recallAgain, recallAgainMost, failures)) != nil {
			return nil //nolint:nilerr // It ends.
		}
	}
}
