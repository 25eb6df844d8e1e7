package segment

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A value is stored as the difference to the previous value of its series, wherever in
// the segment that was: most counters and gauges change little from scrape to scrape.
// Encoder and decoder both keep the previous value of each series, by its ordinal. A
// tag of two bits says how the difference is stored:
//
//	tag          previous   value   stored
//	tagSame      7          7       nothing
//	tagInt       1000       1012    12
//	tagDecimal   0.5        0.75    exponent 2; 75 − 50 = 25
//	tagXOR       0x3fd3…33  0x3fd3…e1  7 zero bytes at the top, 0 at the bottom; 0xd2
//
// An integer or a decimal is used only where it restores the value bit for bit, and an
// XOR always does. Each kind of part has a column of its own, which the decoder reads
// in step with the tags, so that equal bytes come together for the compression:
//
//	tags      same int decimal int xor
//	ints           12          −3
//	decimals           25
//	…
const (
	tagSame    = 0 // the same bits
	tagInt     = 1 // an integer: difference to the rounded previous value
	tagDecimal = 2 // a decimal fraction: the same for value × 10^exponent
	tagXOR     = 3 // the bits that differ, without zero bytes at either end
)

const (
	maxInt      = 1 << 53 // integers below it are exact
	maxExponent = 9
)

var pow10 = [maxExponent + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// valueColumns hold the values of a frame.
type valueColumns struct {
	tags      []byte // four a byte, the first in the lowest bits
	ints      []byte // zigzag varints
	exponents []byte // one byte a decimal
	decimals  []byte // zigzag varints
	shapes    []byte // one byte a XOR: zero bytes at the top << 4 | at the bottom
	xors      []byte // the bytes between, low byte first
}

// base is what an integer or decimal is stored as the difference to: previous ×
// 10^exponent, rounded, or 0 where that is not within maxInt. IEEE 754 defines the
// result of multiplication and rounding, so it is the same on every machine.
func base(previous uint64, exponent byte) int64 {
	p := math.Float64frombits(previous)
	if exponent == 0 {
		if i := int64(p); float64(i) == p && i < maxInt && i > -maxInt {
			return i
		}
	}
	p = float64(p * pow10[exponent])
	if !(math.Abs(p) < maxInt) { // NaN too
		return 0
	}
	return int64(math.RoundToEven(p))
}

// integer returns a value as an integer, and whether that restores it bit for bit.
func integer(v uint64) (int64, bool) {
	f := math.Float64frombits(v)
	if !(math.Abs(f) < maxInt) {
		return 0, false
	}
	i := int64(f)
	return i, math.Float64bits(float64(i)) == v
}

// decimal returns a value as mantissa and exponent, and whether mantissa /
// 10^exponent, which IEEE 754 rounds to the nearest float64, restores it bit for bit.
func decimal(v uint64) (int64, byte, bool) {
	f := math.Float64frombits(v)
	exponent := byte(maxExponent)
	for !(math.Abs(f*pow10[exponent]) < maxInt) {
		if exponent == 0 {
			return 0, 0, false
		}
		exponent -= 3
	}
	m := int64(math.RoundToEven(float64(f * pow10[exponent])))
	if math.Float64bits(float64(m)/pow10[exponent]) != v || m == 0 {
		return 0, 0, false
	}
	for exponent > 0 && m%10 == 0 {
		m /= 10
		exponent--
	}
	return m, exponent, math.Float64bits(float64(m)/pow10[exponent]) == v
}

// reset empties the columns and makes room for the tags of n values.
func (c *valueColumns) reset(n int) {
	c.tags = resize(c.tags, (n+3)/4)
	clear(c.tags)
	c.ints, c.exponents = c.ints[:0], c.exponents[:0]
	c.decimals, c.shapes, c.xors = c.decimals[:0], c.shapes[:0], c.xors[:0]
}

// append adds values, of which the first is the i-th of the frame, and replaces the
// previous ones by them.
func (c *valueColumns) append(i int, values []float64, previous []uint64) {
	previous = previous[:len(values)]
	for j, f := range values {
		v, p := math.Float64bits(f), previous[j]
		if v == p {
			continue
		}
		var tag byte
		if n, ok := integer(v); ok {
			tag, c.ints = tagInt, appendVarint(c.ints, n-base(p, 0))
		} else {
			tag = c.appendFraction(v, p)
		}
		c.tags[(i+j)/4] |= tag << (2 * ((i + j) % 4))
		previous[j] = v
	}
}

func (c *valueColumns) appendFraction(v, previous uint64) byte {
	x := v ^ previous
	lead, trail := bits.LeadingZeros64(x)/8, bits.TrailingZeros64(x)/8
	n := 8 - lead - trail
	if m, exponent, ok := decimal(v); ok {
		d := m - base(previous, exponent)
		if length := (bits.Len64(uint64(d)<<1^uint64(d>>63)) + 6) / 7; length <= n {
			c.exponents = append(c.exponents, exponent)
			c.decimals = binary.AppendVarint(c.decimals, d)
			return tagDecimal
		}
	}
	c.shapes = append(c.shapes, byte(lead<<4|trail))
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], x>>(8*trail))
	c.xors = append(c.xors, b[:n]...)
	return tagXOR
}

// next is the reverse of append: it reads as many values as there are previous ones, and
// replaces those. It returns false if the columns are not what append writes. It consumes
// the columns other than the tags.
func (c *valueColumns) next(i int, previous []uint64, values []float64) bool {
	values = values[:len(previous)]
	tags, ints, at := c.tags, c.ints, 0
	for j, p := range previous {
		k := uint(i + j)
		switch tags[k/4] >> (2 * (k % 4)) & 3 {
		case tagSame:
			values[j] = math.Float64frombits(p)
			continue
		case tagInt:
			var d int64
			if at < len(ints) && ints[at] < 0x80 {
				d = int64(ints[at]>>1) ^ -int64(ints[at]&1)
				at++
			} else {
				var n int
				if d, n = varint(ints[at:]); n <= 0 {
					return false
				}
				at += n
			}
			p = math.Float64bits(float64(base(p, 0) + d))
		case tagDecimal:
			d, n := varint(c.decimals)
			if n <= 0 || len(c.exponents) == 0 || c.exponents[0] > maxExponent {
				return false
			}
			exponent := c.exponents[0]
			c.decimals, c.exponents = c.decimals[n:], c.exponents[1:]
			p = math.Float64bits(float64(base(p, exponent)+d) / pow10[exponent])
		case tagXOR:
			x, ok := c.nextXOR()
			if !ok {
				return false
			}
			p ^= x
		}
		previous[j], values[j] = p, math.Float64frombits(p)
	}
	c.ints = ints[at:]
	return true
}

func (c *valueColumns) nextXOR() (uint64, bool) {
	if len(c.shapes) == 0 {
		return 0, false
	}
	lead, trail := int(c.shapes[0]>>4), int(c.shapes[0]&15)
	c.shapes = c.shapes[1:]
	n := 8 - lead - trail
	if n < 1 || n > len(c.xors) {
		return 0, false
	}
	var x uint64
	if len(c.xors) >= 8 {
		x = binary.LittleEndian.Uint64(c.xors) & (1<<(8*n) - 1)
	} else {
		for j := n - 1; j >= 0; j-- {
			x = x<<8 | uint64(c.xors[j])
		}
	}
	c.xors = c.xors[n:]
	return x << (8 * trail), true
}

// appendVarint and varint are those of encoding/binary with the short case inlined.
func appendVarint(dst []byte, d int64) []byte {
	if u := uint64(d)<<1 ^ uint64(d>>63); u < 0x80 {
		return append(dst, byte(u))
	}
	return binary.AppendVarint(dst, d)
}

func varint(b []byte) (int64, int) {
	if len(b) >= 2 && b[0]&b[1] < 0x80 {
		u, n := uint64(b[0]), 1
		if u >= 0x80 {
			u, n = u&0x7f|uint64(b[1])<<7, 2
		}
		return int64(u>>1) ^ -int64(u&1), n
	}
	return binary.Varint(b)
}

// done reports whether next has consumed all columns.
func (c *valueColumns) done() bool {
	return len(c.ints)+len(c.exponents)+len(c.decimals)+len(c.shapes)+len(c.xors) == 0
}
