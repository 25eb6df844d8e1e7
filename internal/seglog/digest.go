package seglog

import (
	"errors"
	"io"
	"os"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// RepeatWindow is how many of the newest requests are remembered, to recognise one that
// is repeated: by a forwarder, so that it is stored once, and by a server of several
// logs, so that it is streamed once. A server that remembered fewer would stream what
// the forwarder knows to be a repeat.
const RepeatWindow = 131072

// digestEntry is a block header with a digest, and where it is.
type digestEntry struct {
	header segment.FrameHeader
	offset int64
}

// EachDigest calls yield for the newest blocks that carry the digest of a request,
// newest first, at most limit of them, until it returns false. It reads frame headers
// only, and up to errorBytes of the verdicts' errors: older verdicts come without theirs.
// It skips segments that cannot be read or are not on this disk, and their digests are
// forgotten.
func (l *Log) EachDigest(limit, errorBytes int, yield func(digest [16]byte, v segment.Verdict, seq uint64) bool) error {
	l.mu.RLock()
	segs := slices.DeleteFunc(slices.Clone(l.segs), func(s *segFile) bool { return !s.local })
	limits := make([]int64, len(segs))
	for i, s := range segs {
		limits[i] = s.size
	}
	l.mu.RUnlock()
	for i := len(segs) - 1; i >= 0 && limit > 0; i-- {
		n, more, err := l.digests(segs[i], limits[i], limit, &errorBytes, yield)
		var damage *DamageError
		if err != nil && !errors.As(err, &damage) && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if !more {
			return nil
		}
		limit -= n
	}
	return nil
}

func (l *Log) digests(s *segFile, size int64, limit int, errorBytes *int, yield func([16]byte, segment.Verdict, uint64) bool) (n int, more bool, err error) {
	f, err := s.open(l.store.fs)
	if err != nil {
		return 0, true, err
	}
	defer f.close()
	var found []digestEntry // the last limit of them, as a ring
	frames := segment.NewFrameReader(f, segment.HeaderSize)
	total := 0
	for {
		at := frames.Offset()
		h, e := frames.Skip(size)
		if e != nil {
			if !errors.Is(e, io.EOF) {
				err = l.damaged(s, at, e)
			}
			break
		}
		if h.Kind != segment.KindBlock || h.Digest == [16]byte{} {
			continue
		}
		if total < limit {
			found = append(found, digestEntry{h, at})
		} else {
			found[total%limit] = digestEntry{h, at}
		}
		total++
	}
	decoder := segment.NewDecoder()
	for i := range found {
		e := &found[(total-1-i)%len(found)]
		v := e.header.Verdict
		if e.header.Errors > 0 && *errorBytes > 0 {
			h, payload, err := segment.NewFrameReader(f, e.offset).Next(size)
			if err == nil {
				v.Errors, err = decoder.Errors(&h, payload)
			}
			if err != nil {
				return i, true, l.damaged(s, e.offset, err)
			}
			*errorBytes -= segment.ErrorBytes(v.Errors)
		}
		if !yield(e.header.Digest, v, e.header.Sequence) {
			return i, false, err
		}
	}
	return len(found), true, err
}
