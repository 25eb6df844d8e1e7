package simulation

import (
	"time"

	"github.com/promgrpc/exporter/server/retirement"
)

// What a server may hold, where it gives up logs.
const (
	retention = 2 * time.Minute
	deadAfter = retention / 4
	places    = 2
	// retireEvery is how often a server looks for logs to give up.
	retireEvery = 20 * time.Second
)

// retire logs that the server need not hold any more.
func (s *server) retire() {
	w := s.w
	var logs []retirement.Log
	for i, l := range w.logs {
		if i < len(s.copies) && s.copies[i].written > 0 && !s.feed(l).retired {
			f := s.feed(l)
			logs = append(logs, retirement.Log{
				ID: l.id, Dead: f.by == nil && w.now-max(f.left, f.grew) > deadAfter,
				Written: epoch.Add(l.blocks[s.copies[i].written-1].appended), Archived: s.archived(l),
			})
		}
	}
	bounds := retirement.Bounds{Time: retention, Bucket: s.archive != nil, Places: places, Wanted: true}
	for _, r := range w.decisions.retire(logs, bounds, w.time()) {
		l := w.logOf(r.ID)
		w.say("%s retires log %d by %s", s.name, l.index, r.Why)
		s.feed(l).retired = true
		s.checkRetired(l)
	}
	s.after(retireEvery, s.retire)
}

// archived says whether the server knows that all it has of a log is in the bucket.
func (s *server) archived(l *log) bool {
	if s.archive == nil {
		return false
	}
	for _, of := range s.archive.logs {
		if of.log == l {
			return of.plan.Archived(of.segments(), of.covered) >= uint64(s.of(l).written)
		}
	}
	return false
}

// checkRetired that nothing is lost of a log.
func (s *server) checkRetired(l *log) {
	w := s.w
	if s.feed(l).by != nil {
		w.wrong("%s retires log %d, which is fed", s.name, l.index)
	}
	last := s.of(l).written
	tooOld := w.now-l.blocks[last-1].appended > retention
	switch {
	case w.bucket != nil && w.bucket.last(l) < last:
		w.wrong("%s retires log %d, of which the bucket has %d blocks and not %d", s.name, l.index, w.bucket.last(l), last)
	case w.bucket == nil && !tooOld:
		w.wrong("%s retires log %d, which is not too old", s.name, l.index)
	}
}

// last is the last block of a log that is in the bucket, with all before.
func (b *bucket) last(l *log) (last int) {
	for _, s := range stored(l, b.list()) {
		if int(s.First) != last+1 {
			break
		}
		last = int(s.Last)
	}
	return last
}
