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
	// Wait is called while the Remote is read. Nil: until the log is closed.
	Wait Wait

	log   *Log
	seg   *segFile
	f     segReader
	r     *segment.Reader
	frame segment.Frame
}

// ReadSegment returns a reader of the segment whose first sequence it is. If there is none,
// the error is an *OutOfRangeError.
func (l *Log) ReadSegment(first uint64, wait Wait) (*SegmentReader, error) {
	l.mu.RLock()
	oldest, err := l.first(), l.err
	var s *segFile
	if i := l.segmentAt(first); i >= 0 && l.segs[i].first == first {
		s = l.segs[i]
	}
	l.mu.RUnlock()
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, &OutOfRangeError{Oldest: oldest}
	}
	r := &SegmentReader{Wait: wait, log: l, seg: s}
	if r.f, err = l.openSegment(s, r.wait); err != nil {
		return nil, r.gone(err)
	}
	if r.r, err = segment.NewReader(r.f, r.limit()); err != nil {
		r.f.close()
		return nil, r.gone(l.failed(s, 0, err))
	}
	return r, nil
}

func (r *SegmentReader) wait(done <-chan struct{}) error {
	if r.Wait == nil {
		return r.log.wait(done)
	}
	return r.Wait(done)
}

// gone makes an *OutOfRangeError of an error that says that the segment is kept no more.
func (r *SegmentReader) gone(err error) error {
	if errors.Is(err, errDeleted) {
		return &OutOfRangeError{Oldest: r.log.First()}
	}
	return err
}

// limit is how many bytes of the segment readers may read.
func (r *SegmentReader) limit() int64 {
	r.log.mu.RLock()
	defer r.log.mu.RUnlock()
	return r.seg.size
}

// Next returns the next frame, which is valid until the next call, but for label strings
// and the bytes of histograms and exemplars. At the end of what is visible, which may grow,
// it returns nil and no error. After a *DamageError there is nothing more, nor after an
// *OutOfRangeError; after ErrRemote the call can be repeated.
func (r *SegmentReader) Next() (*segment.Frame, error) {
	err := r.r.Next(r.limit(), &r.frame)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, r.gone(r.log.failed(r.seg, r.r.Offset(), err))
	}
	return &r.frame, nil
}

// Bytes returns about what the reader holds in memory.
func (r *SegmentReader) Bytes() int64 { return r.r.Bytes() }

// Close frees what the reader holds. It is called once.
func (r *SegmentReader) Close() { r.f.close() }
