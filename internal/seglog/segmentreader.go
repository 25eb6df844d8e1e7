package seglog

import (
	"errors"
	"io"

	"github.com/promgrpc/exporter/internal/segment"
)

// SegmentReader decodes one segment from its start: the keyframe, the blocks, the footer.
// It is for one goroutine. If retention deletes the segment meanwhile, it is read to its
// end.
type SegmentReader struct {
	log   *Log
	seg   *segFile
	f     *segReader
	r     *segment.Reader
	frame segment.Frame
}

// ReadSegment returns a reader of the segment whose first sequence it is. If there is none,
// the error is an *OutOfRangeError.
func (l *Log) ReadSegment(first uint64) (*SegmentReader, error) {
	l.mu.RLock()
	oldest, err := l.first(), l.err
	var s *segFile
	for _, c := range l.segs {
		if c.first == first {
			s = c
		}
	}
	l.mu.RUnlock()
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, &OutOfRangeError{Oldest: oldest}
	}
	f, err := s.open(l.store.fs)
	if err != nil {
		return nil, err
	}
	r := &SegmentReader{log: l, seg: s, f: f}
	if r.r, err = segment.NewReader(f, r.limit()); err != nil {
		f.close()
		return nil, l.damaged(s, 0, err)
	}
	return r, nil
}

// limit is how many bytes of the segment readers may read.
func (r *SegmentReader) limit() int64 {
	r.log.mu.RLock()
	defer r.log.mu.RUnlock()
	return r.seg.size
}

// Next returns the next frame, which is valid until the next call, but for label strings
// and the bytes of histograms and exemplars. At the end of what is visible, which may grow,
// it returns nil and no error. After a *DamageError there is nothing more.
func (r *SegmentReader) Next() (*segment.Frame, error) {
	err := r.r.Next(r.limit(), &r.frame)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, r.log.damaged(r.seg, r.r.Offset(), err)
	}
	return &r.frame, nil
}

// Bytes returns about what the reader holds in memory.
func (r *SegmentReader) Bytes() int64 { return r.r.Bytes() }

// Close frees what the reader holds. It is called once.
func (r *SegmentReader) Close() { r.f.close() }
