package simulation

import (
	"time"

	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/server/archive/plan"
)

// fillTime is how long a server that starts waits for what the bucket has.
const fillTime = 10 * time.Second

// fillUnfed asks the bucket what it has more of logs that nobody feeds, until it was asked an
// interval after the last of them was left, and all that it had could be read.
func (s *server) fillUnfed() {
	for _, l := range s.w.logs {
		if f := s.feed(l); f.by == nil && s.of(l).written > 0 && s.asked < f.left+bucketInterval {
			s.fill()
			break
		}
	}
	s.after(bucketInterval, s.fillUnfed)
}

// fill takes from the bucket what it has more than this server of what nobody feeds.
func (s *server) fill() {
	w, began := s.w, s.w.now
	var seen []object
	w.bucket.call(s, func() (result, int64) {
		seen = w.bucket.list()
		return done, 0
	}, func(r result, _ int64) {
		s.filling = false
		if r == failed {
			return
		}
		s.asked = began
		for _, l := range w.logs {
			for _, take := range w.decisions.fill(s.newest(l), stored(l, seen)) {
				s.fillFrom(l, take)
			}
		}
	})
}

// list what is there.
func (b *bucket) list() (all []object) {
	for _, name := range b.names {
		if o, there := b.objects[name]; there {
			all = append(all, o)
		}
	}
	return all
}

// newest segment of a log that is on the server's disk, nil for none.
func (s *server) newest(l *log) *plan.Segment {
	written := s.of(l).written
	if written == 0 {
		return nil
	}
	i := (written - 1) / blocksInSegment
	return &plan.Segment{Name: segmentNames[i], First: uint64(i*blocksInSegment + 1), Last: uint64(written), Size: l.sizeOf(i, written)}
}

// stored segments of a log, of which pieces count up to where they continue each other.
func stored(l *log, seen []object) (all []plan.Stored) {
	for i := range len(l.blocks)/blocksInSegment + 1 {
		size, pieces := listed(l, i, seen)
		for _, p := range layout.Chain(pieces) {
			size = max(size, p.Offset+p.Size)
		}
		if size == 0 {
			continue
		}
		first := i*blocksInSegment + 1
		all = append(all, plan.Stored{Name: segmentNames[i], First: uint64(first), Last: uint64(l.lastIn(i, size)), Size: size})
	}
	return all
}

// lastIn is the last block of which all is in so many bytes of a segment.
func (l *log) lastIn(segment int, size int64) int {
	last, end := segment*blocksInSegment, int64(headerSize)
	for ; last < min(len(l.blocks), (segment+1)*blocksInSegment); last++ {
		if end += l.blocks[last].size(); end > size {
			break
		}
	}
	return last
}

// fillFrom takes a segment, or the rest of one.
func (s *server) fillFrom(l *log, take plan.Take) {
	w := s.w
	w.bucket.call(s, func() (result, int64) { return done, 0 }, func(r result, _ int64) {
		if r == failed {
			s.asked = -1
			return
		}
		last := l.lastIn(int(take.First-1)/blocksInSegment, take.Size)
		if s.feed(l).by != nil || last <= s.of(l).written {
			return
		}
		if c := s.of(l); take.Start {
			c.after = int(take.First) - 1
		}
		w.say("%s fills log %d after block %d up to block %d", s.name, l.index, s.of(l).after, last)
		if ended := s.exchange.ended; l.index < len(ended) && ended[l.index] {
			w.wrong("log %d has ended at block %d at %s, and the bucket has %d", l.index, s.of(l).written, s.name, last)
		}
		s.append(l, last)
		s.of(l).forced = last
	})
}
