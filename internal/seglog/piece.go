package seglog

import (
	"fmt"
	"path/filepath"

	"github.com/promgrpc/exporter/internal/segment"
)

// verify checks everything that can be checked without decoding, and returns how many
// bytes decoding will make.
func (m *Mirror) verify(data []byte) (raw int64, err error) {
	prev, next := m.act.decoder.Checksum(), m.act.decoder.Sequence()+1
	if m.act.tail.size == 0 {
		h, err := segment.ParseHeader(data)
		if err != nil {
			return 0, err
		}
		seg := newSegFile(filepath.Dir(m.act.seg.path), m.act.seg.name, m.act.seg.first)
		if err := seg.setHeader(h, m.log.id); err != nil {
			return 0, err
		}
		data = data[segment.HeaderSize:]
		prev, next = h.Checksum, h.FirstSequence
	}
	for len(data) > 0 {
		h, err := segment.ParseFrameHeader(data)
		if err != nil {
			return 0, err
		}
		if h.Len() > int64(len(data)) {
			return 0, fmt.Errorf("%s: %w", h.Kind, segment.ErrShort)
		}
		if err := h.VerifyPayload(data[segment.FrameHeaderSize:h.Len()]); err != nil {
			return 0, err
		}
		if h.Prev != prev || h.Kind == segment.KindBlock && h.Sequence != next {
			return 0, fmt.Errorf("%s %d does not follow what is there", h.Kind, h.Sequence)
		}
		if h.Kind == segment.KindBlock {
			next++
		}
		raw += int64(h.RawLen)
		prev, data = h.Checksum, data[h.Len():]
	}
	return raw, nil
}

// A few bytes may decompress to very many. So frames are decoded together only up to
// decodeAtOnce decompressed bytes, and one by one above that; and of the Appends of all
// logs with more than largePiece only a few run at a time.
const (
	decodeAtOnce = 4 << 20
	largePiece   = 1 << 20
)

// piece returns the first of verified bytes, as many as are decoded at once.
func (m *Mirror) piece(data []byte) []byte {
	n, raw := 0, int64(0)
	if m.act.tail.size == 0 {
		n = segment.HeaderSize
	}
	for first := true; n < len(data); first = false {
		h, err := segment.ParseFrameHeader(data[n:])
		if err != nil {
			return data // They were verified: decoding finds out what this is.
		}
		if raw += int64(h.RawLen); raw > decodeAtOnce && !first {
			break
		}
		n += int(h.Len())
	}
	return data[:n]
}

// appendPiece decodes, writes and commits verified bytes.
func (m *Mirror) appendPiece(data []byte) error {
	frames, err := m.decode(data)
	defer m.trimFrames()
	if err != nil {
		return fmt.Errorf("segment %s at offset %d: %w", m.act.seg.path, m.act.tail.size, err)
	}
	if _, err := m.act.f.WriteAt(data, m.act.tail.size); err != nil {
		return err
	}
	m.store.metrics.bytes.Add(float64(len(data)))
	if m.act.tail.size == 0 {
		m.act.tail.size = segment.HeaderSize
		m.act.tail.sum = m.act.seg.header.PrevChecksum
	}
	for _, f := range frames {
		if err := m.commit(f); err != nil {
			return err
		}
	}
	m.store.grew(len(data))
	return nil
}

// decode decodes verified bytes.
func (m *Mirror) decode(data []byte) ([]*segment.Frame, error) {
	d := m.act.decoder
	if m.act.tail.size == 0 {
		h, err := d.StartSegment(data)
		if err != nil {
			return nil, err
		}
		if err := m.act.seg.setHeader(h, m.log.id); err != nil {
			return nil, err
		}
		data = data[segment.HeaderSize:]
	}
	n := 0
	for ; len(data) > 0; n++ {
		h, err := segment.ParseFrameHeader(data)
		if err != nil {
			return nil, err
		}
		if n == len(m.frames) {
			m.frames = append(m.frames, new(segment.Frame))
		}
		if err := d.Frame(&h, data[segment.FrameHeaderSize:h.Len()], m.frames[n]); err != nil {
			return nil, err
		}
		data = data[h.Len():]
	}
	return m.frames[:n], nil
}

// keepSeries is for how many series a frame keeps its memory, keepFrames how many frames
// are kept.
const (
	keepSeries = 4096
	keepFrames = 64
)

// trimFrames gives up memory that is seldom needed.
func (m *Mirror) trimFrames() {
	m.frames = m.frames[:min(len(m.frames), keepFrames)]
	for _, f := range m.frames {
		if roomy(&f.Keyframe.Series) || f.Block != nil && roomy(&f.Block.Series) {
			*f = segment.Frame{}
		}
	}
}

func roomy(t *segment.SeriesTable) bool {
	return cap(t.Refs) > keepSeries || cap(t.Labels) > keepSeries
}
