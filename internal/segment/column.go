package segment

import (
	"encoding/binary"
	"fmt"
)

// A payload is a fixed row of sections, each preceded by its length as a
// uvarint. What a section holds is told where it is written.
const (
	blockErrors = iota
	blockLabels
	blockSeries
	blockRefs
	blockTimestamps
	blockStarts
	blockTags
	blockInts
	blockExponents
	blockDecimals
	blockShapes
	blockXORs
	blockHistograms
	blockHistogramData
	blockExemplars
	blockExemplarData
	blockMetadata
	blockSections
)

const (
	keyHead = iota
	keyLabels
	keySeries
	keyFlags
	keyTimestamps
	keyStarts
	keyWritten
	keyTags
	keyInts
	keyExponents
	keyDecimals
	keyShapes
	keyXORs
	keyHistograms
	keyHistogramData
	keyMetadata
	keySections
)

// splitSections cuts a raw payload into exactly len(dst) sections.
func splitSections(raw []byte, dst [][]byte) error {
	for i := range dst {
		n, w := binary.Uvarint(raw)
		if w <= 0 || n > uint64(len(raw)-w) {
			return fmt.Errorf("section %d: %w: length", i, ErrCorrupt)
		}
		raw = raw[w:]
		dst[i], raw = raw[:n:n], raw[n:]
	}
	if len(raw) != 0 {
		return fmt.Errorf("%w: %d bytes behind the last section", ErrCorrupt, len(raw))
	}
	return nil
}

// cursor reads the small, seldom sections; the error stays until it is asked
// for.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	n, w := binary.Uvarint(c.b)
	if w <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[w:]
	return n
}

func (c *cursor) varint() int64 {
	n, w := binary.Varint(c.b)
	if w <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[w:]
	return n
}

func (c *cursor) bytes() []byte {
	n := c.uvarint()
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) string() string { return string(c.bytes()) }

// end returns an error unless the section was read well and to its end.
func (c *cursor) end(section string) error {
	if c.bad || len(c.b) != 0 {
		return fmt.Errorf("%s: %w", section, ErrCorrupt)
	}
	return nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendMetadata and readMetadata: family, type, help and unit of each entry.
func appendMetadata(dst []byte, ms []Metadata) []byte {
	for i := range ms {
		dst = appendString(dst, ms[i].Family)
		dst = binary.AppendVarint(dst, int64(ms[i].Type))
		dst = appendString(dst, ms[i].Help)
		dst = appendString(dst, ms[i].Unit)
	}
	return dst
}

func readMetadata(b []byte, count uint32, dst []Metadata) ([]Metadata, error) {
	if 4*uint64(count) > uint64(len(b)) {
		return nil, fmt.Errorf("metadata: %w: count", ErrCorrupt)
	}
	dst = resize(dst, int(count))
	c := cursor{b: b}
	for i := range dst {
		m := &dst[i]
		m.Family = c.string()
		t := c.varint()
		m.Type, c.bad = int32(t), c.bad || int64(int32(t)) != t
		m.Help = c.string()
		m.Unit = c.string()
	}
	return dst, c.end("metadata")
}

// resize returns s with n elements, of any content. None is nil where s is, so
// that what was not there comes back as it was.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
