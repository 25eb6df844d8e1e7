package remotewrite

import (
	"errors"
	"hash/maphash"
	"math/bits"
)

// Key stands for labels: a hash of 128 bits, under seeds of the process so that nobody
// can choose labels that share one. Other spellings of the same labels, such as the
// references of 2.0, have other keys.
type Key struct{ A, B uint64 }

var seedA, seedB = maphash.MakeSeed(), maphash.MakeSeed()

func hashA(b []byte) uint64 { return maphash.Bytes(seedA, b) }

func hashB(b []byte) uint64 { return maphash.Bytes(seedB, b) }

// KeyOf returns the key of labels in wire form.
func KeyOf(labels []byte) Key { return Key{hashA(labels), hashB(labels)} }

// HashBytes returns a hash of bytes under a seed of the process.
func HashBytes(b []byte) uint64 { return hashA(b) }

// Key returns the key of a series' labels.
func (r *Request) Key(s *Series) Key {
	if len(s.refs) > 0 {
		return r.keyOfRefs(s)
	}
	return Key{s.Hash, hashB(s.labels)}
}

// MetadataHash puts together a Metadata.Hash from the type and the hashes of
// help and unit.
func MetadataHash(kind int32, help, unit uint64) uint64 {
	return help ^ bits.RotateLeft64(unit, 23) ^ uint64(uint32(kind))*0x9e3779b97f4a7c15
}

const metricName = "__name__"

// span is a part of a slice.
type span struct{ from, to int }

var errLabelDamaged = errors.New("its labels are not valid protobuf messages")

// eachLabel calls yield with where the name and the value of each label are, in wire
// form.
func eachLabel(b []byte, yield func(name, value span) error) error {
	for i := 0; i < len(b); {
		f, ok := readField(b, i)
		if !ok || f.number != 1 || f.wire != typeBytes {
			return errLabelDamaged
		}
		var name, value span
		start := f.next - len(f.bytes)
		for j := 0; j < len(f.bytes); {
			part, ok := readField(f.bytes, j)
			if !ok || part.number <= 2 && part.wire != typeBytes {
				return errLabelDamaged
			}
			j = part.next
			at := span{start + j - len(part.bytes), start + j}
			switch part.number {
			case 1:
				name = at
			case 2:
				value = at
			}
		}
		if err := yield(name, value); err != nil {
			return err
		}
		i = f.next
	}
	return nil
}

// MetricName returns the value of the label __name__ of a series whose labels
// were found good.
func (r *Request) MetricName(s *Series) []byte { return r.LabelValue(s, metricName) }

// LabelValue returns the value of a label of a series whose labels were found
// good, nil where it has none of that name.
func (r *Request) LabelValue(s *Series, label string) (found []byte) {
	if len(s.refs) > 0 {
		r.eachPair(s.refs, func(name, value []byte) bool {
			if string(name) == label {
				found = value
			}
			return found == nil
		})
		return found
	}
	_ = eachLabel(s.labels, func(name, value span) error {
		if string(s.labels[name.from:name.to]) == label {
			found = s.labels[value.from:value.to]
		}
		return nil
	})
	return found
}
