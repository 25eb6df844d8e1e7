package forwarder

import (
	"crypto/sha256"

	"github.com/promgrpc/exporter/internal/segment"
)

// windowSize is how many requests back a repeat is recognised.
const windowSize = 131072

// digest names a request.
type digest [16]byte

func digestOf(schema byte, body []byte) digest {
	h := sha256.New()
	h.Write([]byte{schema})
	h.Write(body)
	var sum [sha256.Size]byte
	return digest(h.Sum(sum[:0])[:len(digest{})])
}

// answer is what a request was told, once the block of the sequence is durable.
type answer struct {
	sequence uint64
	verdict  segment.Verdict
}

// window remembers the answers to the last requests.
type window struct {
	size    int
	ring    []windowEntry
	next    int
	numbers map[digest]int
}

type windowEntry struct {
	digest digest
	answer answer
}

func newWindow(size int) *window {
	return &window{size: size, numbers: map[digest]int{}}
}

func (w *window) find(d digest) (answer, bool) {
	i, ok := w.numbers[d]
	if !ok {
		return answer{}, false
	}
	return w.ring[i].answer, true
}

// add remembers an answer, and forgets the oldest when there are too many.
func (w *window) add(d digest, a answer) {
	if _, ok := w.numbers[d]; ok {
		return
	}
	if len(w.ring) < w.size {
		w.numbers[d] = len(w.ring)
		w.ring = append(w.ring, windowEntry{d, a})
		return
	}
	delete(w.numbers, w.ring[w.next].digest)
	w.ring[w.next] = windowEntry{d, a}
	w.numbers[d] = w.next
	w.next = (w.next + 1) % w.size
}

// settle says that everything that was answered is durable.
func (w *window) settle() {
	for i := range w.ring {
		w.ring[i].answer.sequence = 0
	}
}
