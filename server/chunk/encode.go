package chunk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// A chunk as bytes:
//
//	encoding  1 byte, as in chunkenc
//	Min       varint
//	Max       uvarint, from Min on
//	length    uvarint, of Data
//	length    uvarint, of Lags, twice that; one more if all lags are the same, which then
//	          is there once
//	Data, Lags
//	checksum  4 bytes, CRC-32C of all before it, low byte first
//
// What chunkenc reads has to be what it wrote, or it takes any amount of memory: so there
// is a checksum.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const checksumBytes = 4

// sizeOfCount is what a chunk's data starts with, the number of samples.
const sizeOfCount = 2

// Append appends a chunk to dst, as bytes.
func Append(dst []byte, c Chunk) []byte {
	from, data := len(dst), c.Data.Bytes()
	dst = append(dst, byte(c.Data.Encoding()))
	dst = binary.AppendVarint(dst, c.Min)
	dst = binary.AppendUvarint(dst, uint64(c.Max)-uint64(c.Min))
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	lags, same := c.Lags, uint64(0)
	if one := oneLag(c.Lags, c.Data.NumSamples()); one != nil {
		lags, same = one, 1
	}
	dst = binary.AppendUvarint(dst, 2*uint64(len(lags))+same)
	dst = append(append(dst, data...), lags...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// oneLag returns the lag that all of several samples have, nil if they have others.
func oneLag(lags []byte, samples int) []byte {
	if samples < 2 || len(lags)%samples != 0 {
		return nil
	}
	one := lags[:len(lags)/samples]
	for at := 0; at < len(lags); at += len(one) {
		if !bytes.Equal(one, lags[at:at+len(one)]) {
			return nil
		}
	}
	if _, n := binary.Uvarint(one); n != len(one) || n == 0 {
		return nil
	}
	return one
}

// ErrDamaged says that bytes are not what Append makes of a chunk.
var ErrDamaged = errors.New("damaged chunk")

// Decode returns the chunk that bytes begin with, which aliases them, and what comes
// after it.
func Decode(b []byte) (Chunk, []byte, error) {
	var c Chunk
	r := reader{rest: b}
	enc := chunkenc.Encoding(r.byte())
	c.Min = r.varint()
	c.Max = int64(uint64(c.Min) + r.uvarint())
	data, lags := r.uvarint(), r.uvarint()
	same := lags%2 == 1
	lags /= 2
	r.check(c.Max >= c.Min && data <= uint64(len(r.rest)) && lags <= uint64(len(r.rest)))
	content := r.bytes(int(data))
	c.Lags = r.bytes(int(lags))
	whole := b[:len(b)-len(r.rest)]
	if sum := r.bytes(checksumBytes); !r.damaged {
		r.check(binary.LittleEndian.Uint32(sum) == crc32.Checksum(whole, castagnoli))
	}
	r.check(enc == chunkenc.EncXOR || enc == chunkenc.EncHistogram || enc == chunkenc.EncFloatHistogram)
	if r.damaged {
		return Chunk{}, nil, ErrDamaged
	}
	var err error
	if c.Data, err = chunkenc.FromData(enc, content); err != nil {
		return Chunk{}, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	switch {
	case lags == 0:
		c.Lags = nil
	case same && len(content) < sizeOfCount:
		return Chunk{}, nil, ErrDamaged
	case same:
		c.Lags = bytes.Repeat(c.Lags, c.Data.NumSamples())
	}
	return c, r.rest, nil
}

// reader reads bytes, and nothing any more after the first damage.
type reader struct {
	rest    []byte
	damaged bool
}

func (r *reader) check(ok bool) {
	if !ok {
		r.damaged, r.rest = true, nil
	}
}

func (r *reader) bytes(n int) []byte {
	if r.check(!r.damaged && n <= len(r.rest)); r.damaged {
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.check(n > 0); r.damaged {
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if r.check(n > 0); r.damaged {
		return 0
	}
	r.rest = r.rest[n:]
	return v
}
