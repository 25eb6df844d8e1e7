package split

import (
	"encoding/binary"

	"github.com/golang/snappy"

	"github.com/promgrpc/exporter/internal/buffer"
)

// pieceSize is how much snappy's block format compresses at a time.
const pieceSize = 1 << 16

// headerSize is the most that the length of a block takes.
const headerSize = binary.MaxVarintLen32

// block is a block of snappy's format that is being written.
type block struct {
	memory *buffer.Buffer // nil before it begins, and after it has ended
	total  int            // bytes that it says
	ask    func(int64) error
}

// begin begins it, with room for its length.
func (b *block) begin(ask func(int64) error) error {
	b.total, b.ask = 0, ask
	if err := ask(int64(buffer.Size(headerSize))); err != nil {
		return err
	}
	b.memory = buffer.Get(headerSize)
	b.memory.Bytes = b.memory.Bytes[:headerSize]
	return nil
}

// grow makes room for n bytes more.
func (b *block) grow(n int) error {
	out := b.memory.Bytes
	need := len(out) + n
	if need <= cap(out) {
		return nil
	}
	need = max(need, 2*len(out))
	if err := b.ask(int64(buffer.Size(need) - buffer.Size(cap(out)))); err != nil {
		return err
	}
	b.memory.Grow(need)
	return nil
}

// end returns the block, and the memory that it is in.
func (b *block) end() (body []byte, memory *buffer.Buffer) {
	at := headerSize - uvarintLen(b.total)
	binary.PutUvarint(b.memory.Bytes[at:headerSize], uint64(b.total))
	body, memory, b.memory = b.memory.Bytes[at:], b.memory, nil
	return body, memory
}

// drop gives the memory back of a block that has not ended.
func (b *block) drop() {
	if b.memory != nil {
		b.memory.Release()
		b.memory = nil
	}
}

// writer compresses what is written to it, a piece at a time: so it takes no more memory
// than what comes of it, and what was copied is compressed while the processor has it at
// hand. It makes what snappy.Encode makes of the whole. Snappy's own package is a little
// slower than klauspost's, but its output is smaller, and the same on every kind of machine.
type writer struct {
	block

	piece [pieceSize]byte
	n     int // bytes in it
}

// start begins a block.
func (w *writer) start(ask func(int64) error) error {
	w.n = 0
	return w.begin(ask)
}

func (w *writer) write(b []byte) error {
	w.total += len(b)
	for len(b) > 0 {
		n := copy(w.piece[w.n:], b)
		w.n += n
		if b = b[n:]; w.n == pieceSize {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush compresses the piece.
func (w *writer) flush() error {
	if w.n == 0 {
		return nil
	}
	if err := w.grow(snappy.MaxEncodedLen(w.n)); err != nil {
		return err
	}
	// What is encoded begins with its length, which is put over the end of what there is,
	// and replaced by that again.
	out := w.memory.Bytes
	length := uvarintLen(w.n)
	at := len(out) - length
	var before [headerSize]byte
	copy(before[:], out[at:])
	encoded := snappy.Encode(out[at:cap(out)], w.piece[:w.n])
	copy(encoded, before[:length])
	w.memory.Bytes = out[:at+len(encoded)]
	w.n = 0
	return nil
}

// finish is end with what is left to compress.
func (w *writer) finish() (body []byte, memory *buffer.Buffer, err error) {
	if err := w.flush(); err != nil {
		return nil, nil, err
	}
	body, memory = w.end()
	return body, memory, nil
}

func uvarintLen(n int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(n))
}
