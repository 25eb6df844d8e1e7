package chunk

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// AppendXOR appends to dst the bytes of a chunkenc.XORChunk with floats at ascending
// timestamps, of which there are one at least and 65,535 at most. It allocates nothing but
// room in dst.
func AppendXOR(dst []byte, times []int64, values []float64) []byte {
	w := bitWriter{b: binary.BigEndian.AppendUint16(dst, uint16(len(times)))}
	var varint [binary.MaxVarintLen64]byte
	w.bytes(varint[:binary.PutVarint(varint[:], times[0])])
	v := math.Float64bits(values[0])
	w.write(v, 64)
	x := xorWriter{leading: none}
	var delta uint64
	for i := 1; i < len(times); i++ {
		next := uint64(times[i]) - uint64(times[i-1])
		if i == 1 {
			w.bytes(varint[:binary.PutUvarint(varint[:], next)])
		} else {
			w.change(int64(next - delta))
		}
		delta = next
		bits := math.Float64bits(values[i])
		x.write(&w, bits^v)
		v = bits
	}
	return w.end()
}

// none says that there are no leading zeros to go by yet.
const none = 64

// xorWriter writes what two values in succession differ in.
type xorWriter struct{ leading, trailing uint }

func (x *xorWriter) write(w *bitWriter, d uint64) {
	if d == 0 {
		w.write(0, 1)
		return
	}
	leading, trailing := min(uint(bits.LeadingZeros64(d)), 31), uint(bits.TrailingZeros64(d))
	if x.leading != none && leading >= x.leading && trailing >= x.trailing {
		w.write(0b10, 2)
		w.write(d>>x.trailing, 64-x.leading-x.trailing)
		return
	}
	x.leading, x.trailing = leading, trailing
	n := 64 - leading - trailing
	w.write(0b11<<11|uint64(leading)<<6|uint64(n&63), 13)
	w.write(d>>trailing, n)
}

// bitWriter appends bits, the highest first.
type bitWriter struct {
	b    []byte
	last uint64 // from the highest bit on
	n    uint   // bits in it
}

// write appends the lowest bits of v, whose others are 0.
func (w *bitWriter) write(v uint64, n uint) {
	room := 64 - w.n
	if n < room {
		w.last |= v << (room - n)
		w.n += n
		return
	}
	w.b = binary.BigEndian.AppendUint64(w.b, w.last|v>>(n-room))
	w.n = n - room
	w.last = v << (64 - w.n)
}

func (w *bitWriter) bytes(b []byte) {
	for _, x := range b {
		w.write(uint64(x), 8)
	}
}

// change appends by how much the distance of two timestamps is another one.
func (w *bitWriter) change(d int64) {
	switch {
	case d == 0:
		w.write(0, 1)
	case within(d, 14):
		w.write(0b10<<14|uint64(d)&(1<<14-1), 16)
	case within(d, 17):
		w.write(0b110<<17|uint64(d)&(1<<17-1), 20)
	case within(d, 20):
		w.write(0b1110<<20|uint64(d)&(1<<20-1), 24)
	default:
		w.write(0b1111, 4)
		w.write(uint64(d), 64)
	}
}

// within says whether a number takes so many bits.
func within(d int64, n uint) bool { return -(1<<(n-1)-1) <= d && d <= 1<<(n-1) }

// end appends what is left of a byte as zeros.
func (w *bitWriter) end() []byte {
	for ; w.n > 0; w.n -= min(w.n, 8) {
		w.b = append(w.b, byte(w.last>>56))
		w.last <<= 8
	}
	return w.b
}
