package simulation

import (
	"time"

	"github.com/promgrpc/exporter/internal/layout"
)

// bucketTimeout is how long a server waits for the bucket.
const bucketTimeout = 5 * time.Second

// bucket has objects of which each is a piece of a segment, or all of it.
type bucket struct {
	w       *world
	objects map[string]object
	names   []string // sorted by when they came
	away    time.Duration
	slow    time.Duration
	refuses time.Duration
	loses   time.Duration // answers
}

// object is what is in it: bytes of a segment, from an offset on.
type object struct {
	layout.Object
	log  *log
	size int64
}

// result of a call.
type result int

const (
	done result = iota
	exists
	missing
	failed // nobody knows
)

func newBucket(w *world) *bucket { return &bucket{w: w, objects: map[string]object{}} }

// fails for a while.
func (b *bucket) fails(f fault) {
	until := b.w.now + f.lasts
	switch f.kind {
	case bucketAway:
		b.away = until
	case bucketSlow:
		b.slow = until
	case bucketRefuses:
		b.refuses = until
	default:
		b.loses = until
	}
}

// call runs something in the bucket, and then something in a server with what came of it.
func (b *bucket) call(s *server, do func() (result, int64), then func(result, int64)) {
	w := b.w
	there, back := w.latency(), w.latency()
	if w.now < b.slow {
		there += w.between(0, bucketTimeout)
		back += w.between(0, bucketTimeout)
	}
	life, answered := s.life, false
	answer := func(r result, size int64) {
		if !answered {
			answered = true
			then(r, size)
		}
	}
	w.after(there, func() {
		switch {
		case w.now < b.away:
		case w.now < b.refuses:
			w.after(back, func() { s.enter(life, func() { answer(failed, 0) }) })
		default:
			r, size := do()
			if w.now >= b.loses || w.random.IntN(2) == 0 {
				w.after(back, func() { s.enter(life, func() { answer(r, size) }) })
			}
		}
	})
	s.after(bucketTimeout, func() { answer(failed, 0) })
}

// create an object, unless it is there.
func (b *bucket) create(name string, o object, overwrite bool) result {
	if _, there := b.objects[name]; there {
		if overwrite {
			b.w.wrong("%s is overwritten", name)
		}
		return exists
	}
	b.objects[name] = o
	b.names = append(b.names, name)
	return done
}

// remove an object. A piece may go once the segment is there.
func (b *bucket) remove(name string, piece object) {
	piece.Piece = false
	if _, there := b.objects[piece.Name()]; !there {
		b.w.wrong("%s is deleted, and the segment is not there", name)
	}
	delete(b.objects, name)
}

// Sizes of what is in a segment.
const (
	blocksInSegment = 2
	headerSize      = 64
	footerSize      = 16
)

// size of a block.
func (b *block) size() int64 { return 10 + int64(b.request+1)%7 }

// sizeOf the blocks of a log in a segment, up to a sequence.
func (l *log) sizeOf(segment, until int) int64 {
	size := int64(headerSize)
	for i := segment * blocksInSegment; i < min(until, (segment+1)*blocksInSegment); i++ {
		size += l.blocks[i].size()
	}
	if until > (segment+1)*blocksInSegment {
		size += footerSize
	}
	return size
}
