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

// writer compresses what is written to it, a piece at a time: so it takes no more memory
// than what comes of it, and what was copied is compressed while the processor has it at
// hand. It makes what snappy.Encode makes of the whole. Snappy's own package is a little
// slower than klauspost's, but its output is smaller, and the same on every kind of machine.
type writer struct {
	piece [pieceSize]byte
	n     int // bytes in it
	total int // bytes that were written
	body  *buffer.Buffer
	ask   func(int64) error
}

// start begins a block.
func (w *writer) start(ask func(int64) error) error {
	w.n, w.total, w.ask = 0, 0, ask
	if err := ask(int64(buffer.Size(headerSize))); err != nil {
		return err
	}
	w.body = buffer.Get(headerSize)
	w.body.Bytes = w.body.Bytes[:headerSize]
	return nil
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
	out := w.body.Bytes
	if need := len(out) + snappy.MaxEncodedLen(w.n); need > cap(out) {
		need = max(need, 2*len(out))
		if err := w.ask(int64(buffer.Size(need) - buffer.Size(cap(out)))); err != nil {
			return err
		}
		w.body.Grow(need)
		out = w.body.Bytes
	}
	// What is encoded begins with its length, which is put over the end of what there is,
	// and replaced by that again.
	length := uvarintLen(w.n)
	at := len(out) - length
	var before [headerSize]byte
	copy(before[:], out[at:])
	encoded := snappy.Encode(out[at:cap(out)], w.piece[:w.n])
	copy(encoded, before[:length])
	w.body.Bytes = out[:at+len(encoded)]
	w.n = 0
	return nil
}

// end returns the block, and the memory that it is in.
func (w *writer) end() (block []byte, memory *buffer.Buffer, err error) {
	if err := w.flush(); err != nil {
		return nil, nil, err
	}
	at := headerSize - uvarintLen(w.total)
	binary.PutUvarint(w.body.Bytes[at:headerSize], uint64(w.total))
	block, memory, w.body = w.body.Bytes[at:], w.body, nil
	return block, memory, nil
}

// drop gives the memory of a block back that is not ended.
func (w *writer) drop() {
	if w.body != nil {
		w.body.Release()
		w.body = nil
	}
}

func uvarintLen(n int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(n))
}
