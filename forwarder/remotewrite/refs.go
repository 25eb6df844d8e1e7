package remotewrite

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/promgrpc/exporter/internal/protoscan"
)

// The labels of a 2.0 series are references to symbols, as packed varints. As a rule
// the series is known, and only its key is needed: that is made of the hashes of the
// symbols, each of which is hashed once a request. Labels are written out only for a
// series that is new, or wrong.

// secretA and secretB make the keys of references those of this process.
var secretA, secretB = rand.Uint64() | 1, rand.Uint64() | 1

// mix adds one more hash to a key. Their order counts.
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
	key, count := secretB, 0
	outside := -1 // a reference that points nowhere
	for i := 0; i < len(refs); count++ {
		ref := uint64(refs[i])
		if i++; ref >= 0x80 {
			if ref, i = protoscan.Varint(refs, i-1); i == 0 {
				return 0, errDamaged
			}
		}
		if ref = uint64(uint32(ref)); ref >= uint64(len(r.hashes)) {
			outside = int(ref)
			continue
		}
		key = mix(key, r.hashes[ref], secretA)
	}
	switch {
	case count > 2*r.limits.Labels:
		return 0, r.manyLabels
	case count%2 != 0:
		return 0, reasonf("labels_refs are not pairs of name and value: there are %d", count)
	case outside >= 0:
		return 0, reasonf("labels_refs point at symbol %d, there are %d", outside, len(r.symbols))
	}
	return key, nil
}

// keyOfRefs is Key for a series with references.
func (r *Request) keyOfRefs(s *Series) Key {
	if len(r.hashesB) == 0 {
		if cap(r.hashesB) < len(r.symbols) {
			r.hashesB = make([]uint64, len(r.symbols))
		}
		r.hashesB = r.hashesB[:len(r.symbols)]
		clear(r.hashesB)
	}
	key := secretA
	for i := 0; i < len(s.refs); {
		var ref uint64
		ref, i = protoscan.Varint(s.refs, i)
		hash := &r.hashesB[uint32(ref)]
		if *hash == 0 {
			*hash = hashB(r.symbols[uint32(ref)])
		}
		key = mix(key, *hash, secretB)
	}
	return Key{s.Hash, key ^ r.tenant.key.B}
}

// gatherRefs collects references, packed or not. As a rule they are in one field, and
// used where they are; otherwise they are copied to the scratch memory, to which nothing
// else may be added meanwhile.
type gatherRefs struct {
	refs   []byte
	from   int
	copied bool
}

// add adds a field of a message that has size bytes.
func (g *gatherRefs) add(r *Request, f *protoscan.Field, size int) bool {
	if f.Wire == protoscan.TypeBytes && g.refs == nil {
		g.refs = f.Bytes
		return true
	}
	if !g.copied {
		if !r.space(size) {
			return false
		}
		g.from, g.copied = len(r.scratch), true
		r.scratch = append(r.scratch, g.refs...)
	}
	switch f.Wire {
	case protoscan.TypeBytes:
		r.scratch = append(r.scratch, f.Bytes...)
	case protoscan.TypeVarint:
		r.scratch = binary.AppendUvarint(r.scratch, f.Value)
	default:
		return false
	}
	g.refs = r.scratch[g.from:len(r.scratch):len(r.scratch)]
	return true
}

// eachPair yields names and values by references that hashRefs has found good.
func (r *Request) eachPair(refs []byte, yield func(name, value []byte) bool) {
	for i := 0; i < len(refs); {
		var name, value uint64
		name, i = protoscan.Varint(refs, i)
		value, i = protoscan.Varint(refs, i)
		if !yield(r.symbols[uint32(name)], r.symbols[uint32(value)]) {
			return
		}
	}
}
