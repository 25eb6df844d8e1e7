package watch

import (
	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/server/selection"
)

// Watch is of one follower.
type Watch struct {
	of        *Watches
	selection *selection.Selection
	interests []*interest // in the order of the logs that it was made with
	series    int         // of all logs
	wake      chan struct{}
}

// Woken receives when there may be something to read.
func (x *Watch) Woken() <-chan struct{} { return x.wake }

// Passed yields, in the order of the logs, the last block before the first that concerns
// the watch, or of all that was looked at if none does; the next call goes on from there,
// as what is after it is the caller's to read. It is false once the watch has more than
// [MaxSeries], and of no use any more.
func (x *Watch) Passed(yield func(i int, sequence uint64)) bool {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	for i, in := range x.interests {
		if in.first != 0 {
			yield(i, in.first-1)
		} else {
			yield(i, in.log.seen)
		}
		in.first = 0
	}
	return x.series <= MaxSeries
}

// seriesBytes is about what a series of a watch takes: a reference, and in a map the list
// of those who watch it.
const seriesBytes = 100

// Bytes is about what the watch takes in memory.
func (x *Watch) Bytes() int64 {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	return int64(x.series) * seriesBytes
}

// Close ends the watch.
func (x *Watch) Close() {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	x.of.remove(x)
}

func (x *Watch) signal() {
	select {
	case x.wake <- struct{}{}:
	default: // It has not taken the last one yet.
	}
}

// add adds a log. The caller holds the mutex.
func (x *Watch) add(log *watched, from *Log) {
	in := &interest{watch: x, log: log}
	x.interests = append(x.interests, in)
	log.join(in)
	for _, ref := range from.Refs {
		if ref >= log.next {
			break // It is matched when the log is looked at.
		}
		in.add(ref)
	}
	// What was new to the log before the watch came, but after it was told.
	known := log.match(from.Next, log.next, func(yield func(*interest) bool) { yield(in) })
	if from.Read < log.seen || !known {
		in.first = from.Read + 1
	}
}

// interest is that of one watch in one log.
type interest struct {
	watch *Watch
	log   *watched
	refs  []uint64 // ascending
	first uint64   // block that concerns it since it last asked, 0: none
}

// add adds a series, if it is not the last one that was added.
func (in *interest) add(ref uint64) {
	if n := len(in.refs); n > 0 {
		last := in.refs[n-1]
		if invariant.On {
			invariant.Check(last <= ref, "series %d comes after series %d", ref, last)
		}
		if last == ref {
			return
		}
	}
	in.log.add(ref, in)
	in.refs = append(in.refs, ref)
	in.watch.series++
}

// concerns says that a block may have something of it.
func (in *interest) concerns(sequence uint64) {
	if in.first == 0 {
		in.first = sequence
		in.watch.signal()
	}
}
