package bound

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math/bits"

	"github.com/klauspost/compress/s2"
)

// request is what a body holds, in memory that the next one uses again, and
// without pointers, of which the garbage collector would have to know.
type request struct {
	version int
	raw     []byte
	series  []series
	samples []sample // one a series
	symbols []span   // of 2.0
	hashes  []uint64 // of the symbols
}

// series has its labels as they stand in a request of 1.0, or as numbers of
// symbols, and a hash of them: the first half of their key.
type series struct {
	hash   uint64
	labels span
}

type sample struct {
	timestamp int64
	value     uint64
}

// span is a part of a request.
type span struct{ from, to uint32 }

func (r *request) bytes(s span) []byte { return r.raw[s.from:s.to] }

// key is two hashes of the same bytes.
type key [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func hash(half int, b []byte) uint64 { return maphash.Bytes(seeds[half], b) }

// errShape says that bytes are not as the load generator writes them: no other
// ones are understood here.
var errShape = errors.New("the request is not one of the load generator")

// decompress takes a body over.
func (r *request) decompress(body []byte) (err error) {
	r.raw, err = s2.Decode(r.raw[:cap(r.raw)], body)
	return err
}

// scan hashes the labels of what was decompressed, and reads the samples.
func (r *request) scan() error {
	r.series, r.samples, r.symbols, r.hashes = r.series[:0], r.samples[:0], r.symbols[:0], r.hashes[:0]
	tag, read := byte(0x0a), r.scanV1
	if r.version == 2 {
		tag, read = 0x2a, r.scanV2
		if !r.readSymbols() {
			return errShape
		}
	}
	for i := 0; i < len(r.raw) && r.raw[i] == tag; {
		at, ok := r.field(i)
		if !ok || !read(at) {
			return errShape
		}
		i = int(at.to)
	}
	if len(r.series) == 0 {
		return errShape
	}
	return nil
}

// scanV1 takes over a series of 1.0: labels, each of less than 128 bytes, and a
// sample.
func (r *request) scanV1(at span) bool {
	b, i := r.bytes(at), 0
	for i+1 < len(b) && b[i] == 0x0a {
		i += 2 + int(b[i+1])
	}
	if i >= len(b) {
		return false
	}
	r.series = append(r.series, series{hash(0, b[:i]), span{at.from, at.from + uint32(i)}})
	return r.readSample(b[i:])
}

// scanV2 takes over a series of 2.0: numbers of symbols, and a sample.
func (r *request) scanV2(at span) bool {
	refs, ok := r.field(int(at.from))
	if !ok {
		return false
	}
	r.series = append(r.series, series{r.hashRefs(refs, 0), refs})
	return r.readSample(r.raw[refs.to:at.to])
}

func (r *request) readSample(b []byte) bool {
	if len(b) < 13 || b[0] != 0x12 || b[2] != 0x09 || b[11] != 0x10 {
		return false
	}
	at, _ := uvarint(b[12:])
	r.samples = append(r.samples, sample{int64(at), binary.LittleEndian.Uint64(b[3:])})
	return true
}

// readSymbols hashes the symbols, which stand behind the series.
func (r *request) readSymbols() bool {
	for i := 0; i < len(r.raw); {
		at, ok := r.field(i)
		if !ok {
			return false
		}
		if r.raw[i] == 0x22 {
			r.symbols = append(r.symbols, at)
			r.hashes = append(r.hashes, hash(0, r.bytes(at)))
		}
		i = int(at.to)
	}
	return true
}

// hashRefs puts the hashes of symbols together, to half a key. It turns each by
// its place, so that no step waits for the one before.
func (r *request) hashRefs(at span, half int) (h uint64) {
	refs := r.bytes(at)
	for i, turn := 0, 0; i < len(refs); turn += 3 + 2*half {
		ref := uint64(refs[i])
		if i++; ref >= 0x80 {
			var n int
			ref, n = binary.Uvarint(refs[i-1:])
			i += max(n, 1) - 1
		}
		if ref < uint64(len(r.hashes)) {
			h += bits.RotateLeft64(r.hashes[ref], turn)
		}
	}
	return h
}

// key of a series' labels.
func (r *request) key(s *series) key {
	if r.version == 1 {
		return key{s.hash, hash(1, r.bytes(s.labels))}
	}
	return key{s.hash, r.hashRefs(s.labels, 1)}
}

// label returns the label of a series that lies at i, and where the next does:
// the bytes of one of 1.0, the numbers of the symbols of one of 2.0.
func (r *request) label(i uint32) (at span, next uint32) {
	if r.version == 1 {
		at, _ = r.field(int(i))
		return at, at.to
	}
	name, n := uvarint(r.raw[i:])
	value, m := uvarint(r.raw[int(i)+n:])
	return span{uint32(name), uint32(value)}, i + uint32(n+m)
}

// same says whether two labels are. The span 0 to 0 is none.
func (r *request) same(a, b span) bool {
	return a == b || r.version == 1 && bytes.Equal(r.bytes(a), r.bytes(b))
}

func (r *request) labelKey(at span) key {
	if r.version == 1 {
		return key{hash(0, r.bytes(at)), hash(1, r.bytes(at))}
	}
	return key{r.hashes[at.from], r.hashes[at.to]}
}

// text of a label, in one part or two.
func (r *request) text(at span) (one, two []byte) {
	if r.version == 1 {
		return r.bytes(at), nil
	}
	return r.bytes(r.symbols[at.from]), r.bytes(r.symbols[at.to])
}

// field returns where the content of the field of bytes lies that begins at i.
func (r *request) field(i int) (span, bool) {
	if i+2 > len(r.raw) {
		return span{}, false
	}
	size, n := uvarint(r.raw[i+1:])
	from := i + 1 + n
	if n == 0 || size > uint64(len(r.raw)-from) {
		return span{}, false
	}
	return span{uint32(from), uint32(from) + uint32(size)}, true
}

// uvarint is binary.Uvarint, with a short way for one byte.
func uvarint(b []byte) (uint64, int) {
	if b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	v, n := binary.Uvarint(b)
	return v, max(n, 0)
}
