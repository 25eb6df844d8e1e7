package remotewrite

import (
	"errors"
	"hash/maphash"
	"math/bits"

	"github.com/promgrpc/exporter/internal/protoscan"
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

// Key returns the key of a series' labels, as they are spelt, and of the tenant.
func (r *Request) Key(s *Series) Key {
	if len(s.refs) > 0 {
		return r.keyOfRefs(s)
	}
	return Key{s.Hash, hashB(s.labels) ^ r.tenant.key.B}
}

// MetadataHash puts together a Metadata.Hash from the type and the hashes of
// help and unit.
func MetadataHash(kind int32, help, unit uint64) uint64 {
	return help ^ bits.RotateLeft64(unit, 23) ^ uint64(uint32(kind))*0x9e3779b97f4a7c15
}

const metricName = "__name__"

// fieldLabels has the labels of a prometheus.TimeSeries.
const fieldLabels = 1

var errLabelDamaged = errors.New("its labels are not valid protobuf messages")

// each yields the labels of a series, of which the tenant comes first, until that returns
// false. References have been found good by hashRefs; the labels of 1.0 are parsed as they
// come.
func (r *Request) each(s *Series, yield func(name, value []byte) bool) error {
	if !r.tenant.none() {
		l, all := r.tenant.label, yield
		if !all([]byte(l.Name), []byte(l.Value)) {
			return nil
		}
		yield = func(name, value []byte) bool { return string(name) == l.Name || all(name, value) }
	}
	if len(s.refs) > 0 {
		r.eachPair(s.refs, yield)
		return nil
	}
	for i := 0; i < len(s.labels); {
		f, ok := protoscan.Read(s.labels, i)
		if !ok || f.Number != fieldLabels || f.Wire != protoscan.TypeBytes {
			return errLabelDamaged
		}
		name, value, ok := protoscan.Pair(f.Bytes)
		if !ok {
			return errLabelDamaged
		}
		if !yield(name, value) {
			return nil
		}
		i = f.Next
	}
	return nil
}

// MetricName returns the value of the label __name__ of a series whose labels
// were found good.
func (r *Request) MetricName(s *Series) []byte { return r.LabelValue(s, metricName) }

// LabelValue returns the value of a label of a series whose labels were found
// good, nil where it has none of that name.
func (r *Request) LabelValue(s *Series, label string) (found []byte) {
	_ = r.each(s, func(name, value []byte) bool { // The labels are good.
		if string(name) == label {
			found = value
		}
		return found == nil
	})
	return found
}
