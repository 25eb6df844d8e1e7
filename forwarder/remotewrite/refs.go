package remotewrite

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// The labels of a 2.0 series are references to symbols, as packed varints. As
// a rule the series is known, and then nothing is asked of them but their key:
// it is made of hashes of the symbols, each of which is hashed once a request.
// They are written out only for a series that is new, or wrong.

// secretA and secretB make the keys of references those of this process.
var secretA, secretB = rand.Uint64() | 1, rand.Uint64() | 1

// mix takes one more hash into a key. It is not commutative.
func mix(key, hash, secret uint64) uint64 {
	high, low := bits.Mul64(key^hash, secret)
	return high ^ low
}

// hashRefs checks references and returns their Series.Hash. The error is about
// this series alone unless it is errDamaged.
func (r *Request) hashRefs(refs []byte) (uint64, error) {
	if len(refs) == 0 {
		return hashA(nil), nil
	}
	var outside error
	key, count := secretB, 0
	for i := 0; i < len(refs); count++ {
		ref := uint64(refs[i])
		if i++; ref >= 0x80 {
			if ref, i = varint(refs, i-1); i == 0 {
				return 0, errDamaged
			}
		}
		if ref = uint64(uint32(ref)); ref >= uint64(len(r.hashes)) {
			outside = fmt.Errorf("labels_refs point at symbol %d, there are %d", ref, len(r.symbols))
			continue
		}
		key = mix(key, r.hashes[ref], secretA)
	}
	switch {
	case count > 2*r.limits.Labels:
		return 0, limit.Over(flagLabels, "it has more than %d labels", r.limits.Labels)
	case count%2 != 0:
		return 0, fmt.Errorf("labels_refs are not pairs of name and value: there are %d", count)
	}
	return key, outside
}

// keyOfRefs is Key for a series with references.
func (r *Request) keyOfRefs(s *Series) Key {
	key := secretA
	for i := 0; i < len(s.refs); {
		var ref uint64
		ref, i = varint(s.refs, i)
		key = mix(key, hashB(r.symbols[uint32(ref)]), secretB)
	}
	return Key{s.Hash, key}
}

// gatherRefs collects references, packed or not. As a rule they come in one
// field, and are used where they are; otherwise they are put together in the
// scratch memory, to which nothing else may be added meanwhile.
type gatherRefs struct {
	refs   []byte
	from   int
	copied bool
}

func (g *gatherRefs) add(f *field, scratch *[]byte) bool {
	if f.wire == typeBytes && g.refs == nil {
		g.refs = f.bytes
		return true
	}
	if !g.copied {
		g.from, g.copied = len(*scratch), true
		*scratch = append(*scratch, g.refs...)
	}
	switch f.wire {
	case typeBytes:
		*scratch = append(*scratch, f.bytes...)
	case typeVarint:
		*scratch = binary.AppendUvarint(*scratch, f.value)
	default:
		return false
	}
	g.refs = (*scratch)[g.from:len(*scratch):len(*scratch)]
	return true
}

// eachPair yields names and values by references that hashRefs has found good.
func (r *Request) eachPair(refs []byte, yield func(name, value []byte) bool) {
	for i := 0; i < len(refs); {
		var name, value uint64
		name, i = varint(refs, i)
		value, i = varint(refs, i)
		if !yield(r.symbols[uint32(name)], r.symbols[uint32(value)]) {
			return
		}
	}
}

// wireOfRefs writes labels as a 1.0 sender would, or nothing where checkWire has
// an objection.
func (r *Request) wireOfRefs(refs []byte) []byte {
	r.wire = r.wire[:0]
	if r.checkWire(refs) != nil {
		return nil
	}
	r.eachPair(refs, func(name, value []byte) bool {
		r.wire = appendLabel(r.wire, name, value)
		return true
	})
	r.wired += len(r.wire)
	return r.wire
}

func errWrittenOut(l Limits) error {
	return limit.Over(flagDecodedBytes, "all labels of the request written out are more than %d bytes, twice the limit", 2*l.DecodedBytes)
}

// checkWire says why a series' labels cannot be written out. References make
// little of much, so what they stand for is bounded as well.
func (r *Request) checkWire(refs []byte) (err error) {
	if r.wired > 2*r.limits.DecodedBytes {
		return errWrittenOut(r.limits)
	}
	r.eachPair(refs, func(name, value []byte) bool {
		if len(name) > r.limits.NameBytes || len(value) > r.limits.ValueBytes {
			err = r.checkLabel(segment.Label{Name: string(name), Value: string(value)})
		}
		return err == nil
	})
	return err
}
