package link

import (
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
)

// randomFrame makes up a frame of any kind, up to the largest small one, out of
// fields that protobuf reads.
func randomFrame(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	kind := protowire.Number(1 + r.IntN(len(kindNames)-1))
	message := randomMessage(r, r.IntN(MaxSmall-8), 3)
	return protowire.AppendBytes(protowire.AppendTag(nil, kind, protowire.BytesType), message)
}

// randomMessage is one of about size bytes. Most have one field many times: that is
// what makes much of little.
func randomMessage(r *rand.Rand, size, depth int) []byte {
	var b []byte
	number, kind, length := protowire.Number(1+r.IntN(9)), r.IntN(6), r.IntN(4)
	for mixed := r.IntN(4) == 0; len(b)+length+16 < size; {
		if mixed {
			number, kind, length = protowire.Number(1+r.IntN(20)), r.IntN(6), r.IntN(40)
		}
		switch kind {
		case 0:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), r.Uint64())
		case 1:
			b = protowire.AppendFixed32(protowire.AppendTag(b, number, protowire.Fixed32Type), r.Uint32())
		case 2:
			if depth > 0 {
				b = protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), randomMessage(r, (size-len(b))/2, depth-1))
				continue
			}
			fallthrough
		default:
			b = protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), make([]byte, length))
		}
	}
	return b
}
