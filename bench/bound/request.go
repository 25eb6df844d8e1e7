package bound

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"
	"math/bits"

	"github.com/klauspost/compress/s2"
)

// request is a decoded body of the load generator, in memory that the next one
// reuses. Bodies of other shapes are errors.
type request struct {
	version int
	raw     []byte
	series  []scanned
	hashes  []uint64 // of the symbols of 2.0
}

// scanned is a series of a request, with one sample. The value of a native histogram is 0:
// floors leave its buckets out.
type scanned struct {
	hash   uint64 // of the labels
	labels span   // fields in 1.0, symbol numbers in 2.0
	value  float64
}

// span is a part of a request.
type span struct{ from, to int }

var errShape = errors.New("not a request of the load generator")

var seed = maphash.MakeSeed()

func (r *request) hash(s span) uint64 { return maphash.Bytes(seed, r.raw[s.from:s.to]) }

func (r *request) decompress(body []byte) (err error) {
	r.raw, err = s2.Decode(r.raw[:cap(r.raw)], body)
	return err
}

// sampleSize is the size of a sample's field, which ends a series of 1.0: three bytes
// of tags and length, the value, and seven for the timestamp. A value of zero is
// omitted, with its tag.
const sampleSize = 18

// scan hashes the labels of each series and reads its value.
func (r *request) scan() error {
	r.series, r.hashes = r.series[:0], r.hashes[:0]
	for i := 0; i < len(r.raw); {
		at := r.field(i)
		if at.to > len(r.raw) {
			return errShape
		}
		switch {
		case r.raw[i] == 0x0a && r.version == 1 && at.to-at.from > sampleSize:
			labels := r.labelled(at)
			r.add(labels, r.hash(labels))
		case r.raw[i] == 0x2a && r.version == 2:
			r.add(r.field(at.from), 0)
		case r.raw[i] == 0x22 && r.version == 2:
			r.hashes = append(r.hashes, r.hash(at))
		default:
			return errShape
		}
		i = at.to
	}
	for i := range r.series {
		if s := &r.series[i]; r.version == 2 {
			s.hash = r.hashRefs(s.labels)
		}
	}
	return nil
}

// add adds a series, whose sample follows the labels.
func (r *request) add(labels span, hash uint64) {
	s := scanned{hash: hash, labels: labels}
	if r.valued(labels.to) {
		s.value = math.Float64frombits(binary.LittleEndian.Uint64(r.raw[labels.to+3:]))
	}
	r.series = append(r.series, s)
}

// labelled returns the labels of a series of 1.0.
func (r *request) labelled(series span) span {
	labels := span{series.from, series.to - sampleSize}
	if r.valued(labels.to) {
		return labels
	}
	if labels.to += 9; r.raw[labels.to] == 0x12 && r.raw[labels.to+1] == sampleSize-9-2 {
		return labels
	}
	// A native histogram, whose size varies.
	for labels.to = series.from; labels.to < series.to && r.raw[labels.to] == 0x0a; {
		labels.to = r.field(labels.to).to
	}
	return labels
}

// valued reports whether the sample at i has a value.
func (r *request) valued(i int) bool { return r.raw[i] == 0x12 && r.raw[i+1] == sampleSize-2 }

// hashRefs combines the hashes of symbols. Each is rotated by its position, so that
// the additions do not depend on each other.
func (r *request) hashRefs(refs span) (h uint64) {
	for i, turn := refs.from, 0; i < refs.to; turn += 3 {
		ref, n := uvarint(r.raw[i:])
		h += bits.RotateLeft64(r.hashes[ref], turn)
		i += n
	}
	return h
}

// label returns the hash of the label at i, and the offset of the next one.
func (r *request) label(i int) (hash uint64, next int) {
	if r.version == 1 {
		at := r.field(i)
		return r.hash(at), at.to
	}
	_, n := uvarint(r.raw[i:])
	_, m := uvarint(r.raw[i+n:])
	return r.hashRefs(span{i, i + n + m}), i + n + m
}

// field returns the content of the length-delimited field at i.
func (r *request) field(i int) span {
	size, n := uvarint(r.raw[i+1:])
	return span{i + 1 + n, i + 1 + n + int(size)}
}

// uvarint is binary.Uvarint with a fast path for one byte.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}
