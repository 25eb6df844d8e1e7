package seglog

import (
	"errors"
	"io"

	"github.com/promgrpc/exporter/internal/segment"
)

// DigestsBefore calls yield for the blocks up to a sequence that carry the digest of a
// request, as many as are among the last limit blocks, in no particular order. It reads
// frame headers only, on the disk or at the Remote. What is damaged or kept no more has
// none. It returns the oldest block that it looked at, which is not that of the limit if the
// log has a hole, or after an error.
func (l *Log) DigestsBefore(seq uint64, limit uint64, wait Wait, yield func(digest [16]byte, v segment.Verdict, seq uint64)) (uint64, error) {
	oldest := uint64(1)
	if seq > limit {
		oldest = seq - limit + 1
	}
	for seq >= oldest {
		l.mu.RLock()
		s := l.holding(seq)
		if s == nil {
			l.mu.RUnlock()
			return seq + 1, nil
		}
		size := s.size
		l.mu.RUnlock()
		err := l.digestsWithin(s, size, oldest, seq, wait, yield)
		var damage *DamageError
		if err != nil && !errors.As(err, &damage) && !errors.Is(err, errDeleted) {
			return seq + 1, err
		}
		seq = s.first - 1
	}
	return oldest, nil
}

// digestsWithin is DigestsBefore for the blocks of one segment from one to another.
func (l *Log) digestsWithin(s *segFile, size int64, from, to uint64, wait Wait, yield func([16]byte, segment.Verdict, uint64)) error {
	f, err := l.openSegment(s, wait)
	if err != nil {
		return l.failed(s, 0, err)
	}
	defer f.close()
	frames := segment.NewFrameReader(f, segment.HeaderSize)
	for {
		at := frames.Offset()
		h, err := frames.Skip(size)
		switch {
		case errors.Is(err, io.EOF), err == nil && h.Kind == segment.KindBlock && h.Sequence > to:
			return nil
		case err != nil:
			return l.failed(s, at, err)
		case h.Kind == segment.KindBlock && h.Sequence >= from && h.Digest != [16]byte{}:
			yield(h.Digest, h.Verdict, h.Sequence)
		}
	}
}
