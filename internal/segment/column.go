package segment

import (
	"encoding/binary"
	"fmt"
)

// A payload is a fixed list of sections, each preceded by its length as a
// uvarint. The code that writes a section says what it holds. The last ones are there only
// where the frame has the flags for them.
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
	blockElections
	blockPlacement
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
	keyElections
	keyPlacement
	keySections
)

// optional are the flags of the last sections of each kind of frame, in their order.
var optional = [...]uint8{FlagElections, FlagPlacement}

// present says whether a frame with these flags has the i-th of the sections of its kind.
func present(i, sections int, flags uint8) bool {
	first := sections - len(optional)
	return i < first || flags&optional[i-first] != 0
}

// splitSections cuts a raw payload into exactly the sections that are present.
func splitSections(raw []byte, dst [][]byte, flags uint8) error {
	for i := range dst {
		if !present(i, len(dst), flags) {
			continue
		}
		n, w := binary.Uvarint(raw)
		if w <= 0 || n > uint64(len(raw)-w) {
			return fmt.Errorf("section %d: %w: length", i, ErrCorrupt)
		}
		raw = raw[w:]
		dst[i], raw = raw[:n:n], raw[n:]
	}
	if len(raw) != 0 {
		return fmt.Errorf("%w: %d bytes after the last section", ErrCorrupt, len(raw))
	}
	return nil
}

// sectionReader reads the parts of one section of a payload. After an error it
// returns zeros, and end reports it.
type sectionReader struct {
	b   []byte
	bad bool
}

func (r *sectionReader) uvarint() uint64 {
	n, w := binary.Uvarint(r.b)
	if w <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[w:]
	return n
}

func (r *sectionReader) varint() int64 {
	n, w := binary.Varint(r.b)
	if w <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[w:]
	return n
}

func (r *sectionReader) bytes() []byte { return r.next(r.uvarint()) }

func (r *sectionReader) next(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *sectionReader) string() string { return string(r.bytes()) }

// end returns an error unless the whole section was read, and without one.
func (r *sectionReader) end(section string) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("%s: %w", section, ErrCorrupt)
	}
	return nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendMetadata fills the section of metadata: family, type, help and unit of each
// entry.
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
	r := sectionReader{b: b}
	for i := range dst {
		m := &dst[i]
		m.Family = r.string()
		t := r.varint()
		m.Type, r.bad = int32(t), r.bad || int64(int32(t)) != t
		m.Help = r.string()
		m.Unit = r.string()
	}
	return dst, r.end("metadata")
}

// resize returns s with n elements of any content. It returns nil for 0 of nil, so
// that nil slices stay nil.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
