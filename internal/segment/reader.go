package segment

import (
	"errors"
	"fmt"
	"io"
)

const readAhead = 256 << 10

// FrameReader reads the frames of a file that may be growing. It verifies their
// checksums, and does not decode them.
type FrameReader struct {
	r      io.ReaderAt
	offset int64 // of the next frame
	buf    []byte
	start  int64 // offset of buf
}

// NewFrameReader returns a reader of the frames from an offset on.
func NewFrameReader(r io.ReaderAt, offset int64) *FrameReader {
	return &FrameReader{r: r, offset: offset}
}

// Offset of the next frame, and after an error of the one that it is about.
func (f *FrameReader) Offset() int64 { return f.offset }

// at returns n bytes at an offset.
func (f *FrameReader) at(offset, n, limit int64) ([]byte, error) {
	if offset+n > limit {
		return nil, fmt.Errorf("%w: %d bytes of %d", ErrShort, max(limit-offset, 0), n)
	}
	if offset < f.start || offset+n > f.start+int64(len(f.buf)) {
		size := min(max(n, readAhead), limit-offset)
		if int64(cap(f.buf)) < size || cap(f.buf) > 4*readAhead && size <= readAhead {
			f.buf = make([]byte, size)
		}
		f.buf, f.start = f.buf[:size], offset
		if m, err := f.r.ReadAt(f.buf, offset); m < len(f.buf) {
			f.buf = f.buf[:0]
			if errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("%w: the file ends after %d bytes of %d", ErrShort, m, size)
			}
			return nil, err
		}
	}
	return f.buf[offset-f.start:][:n:n], nil
}

// Skip reads the next frame's header and skips its payload, which has to end at limit
// at the latest: a frame that goes beyond is ErrShort. At limit the error is io.EOF.
func (f *FrameReader) Skip(limit int64) (FrameHeader, error) {
	h, err := f.header(limit)
	if err == nil {
		f.offset += h.Len()
	}
	return h, err
}

func (f *FrameReader) header(limit int64) (FrameHeader, error) {
	if f.offset >= limit {
		return FrameHeader{}, io.EOF
	}
	b, err := f.at(f.offset, FrameHeaderSize, limit)
	if err != nil {
		return FrameHeader{}, fmt.Errorf("frame header: %w", err)
	}
	h, err := ParseFrameHeader(b)
	if err == nil && f.offset+h.Len() > limit {
		err = fmt.Errorf("%s: %w: %d bytes of %d", h.Kind, ErrShort, limit-f.offset, h.Len())
	}
	return h, err
}

// Next reads the next frame. The payload is verified, and valid until the next
// call. The errors are those of Skip.
func (f *FrameReader) Next(limit int64) (FrameHeader, []byte, error) {
	h, err := f.header(limit)
	if err != nil {
		return h, nil, err
	}
	b, err := f.at(f.offset, h.Len(), limit)
	if err != nil {
		return h, nil, err
	}
	payload := b[FrameHeaderSize:]
	if err := h.VerifyPayload(payload); err != nil {
		return h, nil, fmt.Errorf("%s: %w", h.Kind, err)
	}
	f.offset += h.Len()
	return h, payload, nil
}

// Frame is a decoded frame; its kind says which of its parts is set.
type Frame struct {
	// Offset in the file.
	Offset   int64
	Header   FrameHeader
	Keyframe Keyframe
	// Block is reused by the next frame, unless it is set to nil before.
	Block *Block
}

// Elections are those of the frame, whatever its kind.
func (f *Frame) Elections() []Election {
	switch f.Header.Kind {
	case KindKeyframe:
		return f.Keyframe.Elections
	case KindBlock:
		return f.Block.Elections
	}
	return nil
}

// Placement is that of the frame, whatever its kind.
func (f *Frame) Placement() Placement {
	switch f.Header.Kind {
	case KindKeyframe:
		return f.Keyframe.Placement
	case KindBlock:
		return f.Block.Placement
	}
	return Placement{}
}

// Frame decodes a frame of any kind into f.
func (d *Decoder) Frame(h *FrameHeader, payload []byte, f *Frame) error {
	f.Header = *h
	switch h.Kind {
	case KindKeyframe:
		return d.Keyframe(h, payload, &f.Keyframe)
	case KindBlock:
		if f.Block == nil {
			f.Block = new(Block)
		}
		return d.Block(h, payload, f.Block)
	}
	return d.Footer(h)
}

// Reader decodes the frames of a segment, from the first on.
type Reader struct {
	header  Header
	frames  *FrameReader
	decoder *Decoder
}

// NewReader reads the file header. limit is how many bytes may be read.
func NewReader(r io.ReaderAt, limit int64) (*Reader, error) {
	s := &Reader{frames: NewFrameReader(r, 0), decoder: NewDecoder()}
	b, err := s.frames.at(0, HeaderSize, limit)
	if err != nil {
		return nil, fmt.Errorf("file header: %w", err)
	}
	if s.header, err = s.decoder.StartSegment(b); err != nil {
		return nil, err
	}
	s.frames.offset = HeaderSize
	return s, nil
}

// Header of the file.
func (s *Reader) Header() Header { return s.header }

// Offset of the next frame, and after an error of the one that it is about.
func (s *Reader) Offset() int64 { return s.frames.offset }

// Decoder returns the reader's decoder.
func (s *Reader) Decoder() *Decoder { return s.decoder }

// Bytes returns about what the reader and its decoder hold in memory.
func (s *Reader) Bytes() int64 { return int64(cap(s.frames.buf)) + s.decoder.bytes() }

// Next decodes the next frame into f. At limit, which may grow from call to call, the
// error is io.EOF. After that, after ErrShort and after an error of reading the call can
// be repeated, after any other it cannot.
func (s *Reader) Next(limit int64, f *Frame) error {
	at := s.frames.offset
	h, payload, err := s.frames.Next(limit)
	if err != nil {
		return err
	}
	f.Offset = at
	if err := s.decoder.Frame(&h, payload, f); err != nil {
		s.frames.offset = at
		return err
	}
	return nil
}
