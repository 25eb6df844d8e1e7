package discovery

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/backoff"
)

const (
	leastBackoff = 100 * time.Millisecond
	mostBackoff  = 2 * time.Second
)

// directory can be asked for the instances of a service.
type directory struct {
	// lookup returns the instances that there are. It may wait up to a time
	// for them to change.
	lookup func(ctx context.Context, wait time.Duration) ([]Instance, error)
	// wait for a change at most.
	wait time.Duration
	// pause after an answer, and while no instance is known.
	pause, hurry time.Duration
	logger       *slog.Logger
}

// watch asks until ctx ends.
func (d directory) watch(ctx context.Context, f *feed) {
	defer f.close()
	k := keeper{}
	var sent []Instance
	first, failures := true, 0
	for ctx.Err() == nil {
		answer, err := d.lookup(ctx, k.patience(d.wait, time.Now()))
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			k.failed(time.Now())
			if failures == 0 { // One line a change of state, not one a question.
				d.logger.Warn("discovery fails, known instances stay", "err", err, "instances", len(sent))
			}
			_ = backoff.Sleep(ctx, backoff.Pause(leastBackoff, mostBackoff, failures))
			failures++
			continue
		}
		if failures > 0 {
			d.logger.Info("discovery works again", "instances", len(answer))
		}
		failures = 0
		set := k.answered(answer, time.Now())
		if first || !slices.Equal(set, sent) {
			d.logger.Info("instances found", "instances", addresses(set))
			f.send(slices.Clone(set))
			first, sent = false, set
		}
		if len(set) == 0 {
			_ = backoff.Sleep(ctx, d.hurry)
		} else {
			_ = backoff.Sleep(ctx, d.pause)
		}
	}
}

func addresses(set []Instance) []string {
	list := make([]string, 0, len(set))
	for _, i := range set {
		list = append(list, i.Address)
	}
	return list
}

// keeper decides which instances stay, see [Grace].
type keeper struct {
	known []Instance // The last set.
	empty bool       // So was the last answer.
	until time.Time  // Nothing is left out before.
}

// failed says that nobody could be asked.
func (k *keeper) failed(now time.Time) { k.until = now.Add(Grace) }

// answered returns the set that follows from an answer, in the order of IDs.
func (k *keeper) answered(answer []Instance, now time.Time) []Instance {
	if len(answer) == 0 && len(k.known) > 0 && !k.empty {
		k.until = now.Add(Grace)
	}
	k.empty = len(answer) == 0
	set := slices.Clone(answer)
	if now.Before(k.until) {
		for _, old := range k.known {
			// An instance that came back under another name or address is one.
			if !slices.ContainsFunc(set, func(i Instance) bool { return i.ID == old.ID || i.Address == old.Address }) {
				set = append(set, old)
			}
		}
	}
	slices.SortFunc(set, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	k.known = slices.Compact(set)
	return k.known
}

// patience is how long to wait for the next answer, at most d, and not longer than the
// grace: then the last answer has to be looked at again.
func (k *keeper) patience(d time.Duration, now time.Time) time.Duration {
	if left := k.until.Sub(now); left > 0 {
		return min(d, left+leastBackoff)
	}
	return d
}
