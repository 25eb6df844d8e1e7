package simulation

import (
	"slices"

	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/server/archive/plan"
)

// check what has to be true in the end, when nothing is wrong any more.
func (w *world) check() {
	w.checkAnswers()
	w.checkLogs()
	w.checkEnds()
	w.checkPair()
	if w.bucket != nil {
		w.bucket.check()
	}
}

// checkAnswer: what is answered is on the forwarder's disk, and on those of as many servers
// as have to confirm it. That one lost its disk may not be known yet.
func (w *world) checkAnswer(f *forwarder, at place) {
	n := 0
	for _, s := range w.servers {
		stale := slices.ContainsFunc(f.sessions, func(link *session) bool { return link.s == s && link.stale() })
		if s.of(at.log).forced >= at.sequence || stale {
			n++
		}
	}
	if n < w.confirmations || f.of(at.log).forced < at.sequence {
		w.wrong("block %d of log %d was answered, and %d servers have forced it", at.sequence, at.log.index, n)
	}
}

// checkAnswers: what a sender has is answered, and what was answered is at every server
// once.
func (w *world) checkAnswers() {
	for i := range w.requests {
		r := &w.requests[i]
		if !r.answered {
			w.wrong("request %d waits for ever", i)
			continue
		}
		if !r.taken || r.dropped || r.excused {
			continue
		}
		for _, s := range w.servers {
			if !s.has(i) && !w.retiredRequest(i) {
				w.wrong("request %d was answered, and %s does not have it", i, s.name)
			}
		}
	}
	for _, l := range w.logs {
		seen := map[int]bool{}
		for _, b := range l.blocks {
			if b.request != noRequest && seen[b.request] {
				w.wrong("request %d is twice in log %d", b.request, l.index)
			}
			seen[b.request] = true
		}
	}
}

// retired says whether any server has given up a log. It was looked whether that may be.
func (w *world) retired(l *log) bool {
	return slices.ContainsFunc(w.servers, func(s *server) bool { return s.feed(l).retired })
}

func (w *world) retiredRequest(request int) bool {
	return slices.ContainsFunc(w.logs, func(l *log) bool {
		return w.retired(l) && slices.ContainsFunc(l.blocks, func(b block) bool { return b.request == request })
	})
}

// has a request, in whatever log, on its disk or where it reads what is older.
func (s *server) has(request int) bool {
	for _, l := range s.w.logs {
		c := s.of(l)
		for i, b := range l.blocks[:c.written] {
			if b.request == request && (c.has(i+1) || s.w.bucket.has(l, i+1)) {
				return true
			}
		}
	}
	return false
}

// has says whether a block is in the bucket.
func (b *bucket) has(l *log, sequence int) bool {
	return b != nil && slices.ContainsFunc(stored(l, b.list()), func(s plan.Stored) bool {
		return s.First <= uint64(sequence) && uint64(sequence) <= s.Last
	})
}

// checkLogs: a log ends at the same block everywhere.
func (w *world) checkLogs() {
	for _, l := range w.logs {
		for _, s := range w.servers[1:] {
			if a, b := w.servers[0].of(l).written, s.of(l).written; a != b && !w.retired(l) {
				w.wrong("log %d ends at block %d at %s, and at block %d at %s", l.index, a, w.servers[0].name, b, s.name)
			}
		}
	}
}

// checkEnds: a log that no forwarder has any more has ended.
func (w *world) checkEnds() {
	for _, l := range w.logs {
		if w.disks(l, 1, nil) == 0 || slices.ContainsFunc(w.forwarders, func(f *forwarder) bool { return slices.Contains(f.mine, l) }) {
			continue
		}
		for _, s := range w.servers {
			if s.of(l).written > 0 && !s.feed(l).retired && !s.exchange.ended[l.index] {
				w.wrong("log %d has not ended at %s", l.index, s.name)
			}
		}
	}
}

// checkPair: of a pair exactly one's samples are stored, once all has settled.
func (w *world) checkPair() {
	if !w.pair {
		return
	}
	last := 0
	for i := range w.requests {
		last = max(last, w.requests[i].tick)
	}
	stored := map[int][]int{}
	from := map[int]bool{}
	for i := range w.requests {
		r := &w.requests[i]
		if r.tick > last-settledTicks && r.taken {
			stored[r.tick] = append(stored[r.tick], i)
			from[r.sender] = true
		}
	}
	for tick := last - settledTicks + 1; tick <= last; tick++ {
		if n := len(stored[tick]); n != 1 {
			w.wrong("sample %d of the pair is stored %d times", tick, n)
		}
	}
	if len(from) != 1 {
		w.wrong("samples of %d senders of the pair are stored", len(from))
	}
}

// check that the chain of each log is whole.
func (b *bucket) check() {
	for _, l := range b.w.logs {
		want := 0
		for _, s := range b.w.servers {
			want = max(want, s.of(l).written)
		}
		for i := 0; i*blocksInSegment < want; i++ {
			b.checkSegment(l, i, want)
		}
	}
}

// checkSegment: it is there as one, or in pieces that continue each other. One that ends a
// log may have its end there that the servers do not know.
func (b *bucket) checkSegment(l *log, i, want int) {
	size := l.sizeOf(i, want)
	sealed, pieces := listed(l, i, b.list())
	end := sealed
	for _, p := range layout.Chain(pieces) {
		end = max(end, p.Offset+p.Size)
	}
	if complete := want > (i+1)*blocksInSegment; end < size || complete && end > size || sealed > 0 && sealed < size {
		b.w.wrong("segment %d of log %d has %d bytes in the bucket, and not %d: %v", i, l.index, end, size, pieces)
	}
	// Of what is on no disk any more, leftovers go with retention.
	onDisk := slices.ContainsFunc(b.w.servers, func(s *server) bool { return s.of(l).has(i*blocksInSegment + 1) })
	if sealed > 0 && len(pieces) > 0 && onDisk {
		b.w.wrong("segment %d of log %d has pieces in the bucket, beside itself: %v", i, l.index, pieces)
	}
}
