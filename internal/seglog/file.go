package seglog

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

const (
	nameTime = "20060102T150405.000Z"
	nameExt  = ".seg"
	tempExt  = ".tmp"
)

var nameForm = regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}Z-(\d{20})\.seg$`)

// fileName of a segment: its first instant in UTC and its first sequence.
func fileName(createMS int64, first uint64) string {
	return fmt.Sprintf("%s-%020d%s", time.UnixMilli(createMS).UTC().Format(nameTime), first, nameExt)
}

// parseName returns the first sequence in a file's name.
func parseName(name string) (uint64, bool) {
	m := nameForm.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	first, err := strconv.ParseUint(m[1], 10, 64)
	return first, err == nil && first > 0
}

// segFile is what is known of a segment file without reading it. The log's lock guards
// all but name, path, first and header.
type segFile struct {
	name, path string
	first      uint64 // as in the header and the name
	header     segment.Header

	last     uint64 // first-1: no block yet
	sum      uint32 // checksum of the last block, or that of the block before the segment
	size     int64  // of the readable part
	keyEnd   int64  // offset of the end of the keyframe, 0 where nobody needs it
	sealed   bool
	min, max int64 // of the samples in the blocks
	damage   *DamageError
	local    bool        // it is on this disk
	remote   *RemoteInfo // what the Remote has of it, nil: nothing
	index    sparseIndex

	shared sharedFile // with a lock of its own
}

func newSegFile(dir, name string, first uint64) *segFile {
	s := &segFile{name: name, path: filepath.Join(dir, name), first: first, local: true}
	s.forget()
	// Until the header is read.
	if t, err := time.Parse(nameTime, name[:min(len(name), len(nameTime))]); err == nil {
		s.header.CreateTime = t.UnixMilli()
	}
	return s
}

// forget makes the segment one without blocks, of which only the name is known.
func (s *segFile) forget() {
	s.last, s.min, s.max = s.first-1, math.MaxInt64, math.MinInt64
	s.sum, s.size, s.keyEnd, s.sealed, s.damage, s.index = 0, 0, 0, false, nil, sparseIndex{}
}

func (s *segFile) info() SegmentInfo {
	i := SegmentInfo{
		Name: s.name, FirstSequence: s.first, LastSequence: s.last,
		CreateTime: time.UnixMilli(s.header.CreateTime).UTC(), Size: s.size, Sealed: s.sealed,
		MinTime: s.min, MaxTime: s.max, Archived: s.archived(), Remote: !s.local,
	}
	if s.damage != nil {
		i.Err = s.damage
	}
	return i
}

// addBlock extends the segment by a block whose frame ends at an offset.
func (s *segFile) addBlock(h *segment.FrameHeader, end int64) {
	s.index.add(h.Sequence, end-h.Len())
	s.last, s.sum, s.size = h.Sequence, h.Checksum, end
	s.min, s.max = min(s.min, h.MinTime), max(s.max, h.MaxTime)
}

// inspect fills in what is known of a segment that is not the newest, from its header
// and footer, or from all frame headers if it has no footer. Damage is noted, not
// returned.
func (s *segFile) inspect(fs filesystem, id segment.LogID) {
	err := s.inspectFile(fs, id)
	if err != nil && !errors.As(err, &s.damage) {
		s.damage = &DamageError{File: s.path, Err: err}
	}
}

func (s *segFile) inspectFile(fs filesystem, id segment.LogID) error {
	f, err := fs.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if err := s.readHeader(f, id); err != nil {
		return err
	}
	var b [segment.FrameHeaderSize]byte
	if size >= segment.HeaderSize+segment.FrameHeaderSize {
		if _, err := f.ReadAt(b[:], size-segment.FrameHeaderSize); err != nil {
			return err
		}
		if h, err := segment.ParseFrameHeader(b[:]); err == nil && h.Kind == segment.KindFooter && h.Sequence+1 >= s.first {
			s.sealed, s.last, s.size, s.min, s.max = true, h.Sequence, size, h.MinTime, h.MaxTime
			if s.last >= s.first {
				s.sum = h.Prev
			}
			return nil
		}
	}
	frames := segment.NewFrameReader(f, segment.HeaderSize)
	for s.size = segment.HeaderSize; ; s.size = frames.Offset() {
		h, err := frames.Skip(size)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && (s.sealed || h.Kind == segment.KindBlock && h.Sequence != s.last+1) {
			err = fmt.Errorf("%w: %s %d out of place", segment.ErrCorrupt, h.Kind, h.Sequence)
		}
		if err != nil {
			return &DamageError{File: s.path, Offset: s.size, Err: err}
		}
		switch h.Kind {
		case segment.KindBlock:
			s.addBlock(&h, frames.Offset())
		case segment.KindFooter:
			s.sealed = true
		}
	}
}

// readHeader reads the file header and checks it against name and log.
func (s *segFile) readHeader(f io.ReaderAt, id segment.LogID) error {
	var b [segment.HeaderSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, err := segment.ParseHeader(b[:n])
	if err != nil {
		return err
	}
	return s.setHeader(h, id)
}

func (s *segFile) setHeader(h segment.Header, id segment.LogID) error {
	if h.LogID != id {
		return fmt.Errorf("segment of log %s among those of log %s", h.LogID, id)
	}
	if h.FirstSequence != s.first {
		return fmt.Errorf("first sequence is %d, not that of the name", h.FirstSequence)
	}
	s.header, s.sum = h, h.PrevChecksum
	return nil
}
