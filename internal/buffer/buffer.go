// Package buffer lends memory for bytes that come over a network, so that a
// steady stream of requests takes no new memory and leaves the garbage
// collector nothing to do.
//
// Guaranteed: a buffer takes up at most 16 KiB more than was asked for, so who
// bounds what is asked for bounds the memory in use. What was given back and is
// not lent again is freed by the garbage collector.
package buffer

import "sync"

const (
	// step is by how much the sizes of buffers differ.
	step = 16 << 10
	// largest is the size up to which buffers are kept. Larger ones are so
	// seldom that they would only lie about.
	largest = 1 << 20
)

// pools of buffers, by their size in steps.
var pools [largest/step + 1]sync.Pool

// Buffer is memory on loan. Its bytes may be appended to within their capacity.
type Buffer struct{ Bytes []byte }

// Size returns how much memory a buffer takes up that has room for n bytes.
func Size(n int) int {
	if n > largest {
		return n
	}
	return max(1, (n+step-1)/step) * step
}

// Get lends a buffer that is empty and has room for n bytes.
func Get(n int) *Buffer {
	size := Size(n)
	if size > largest {
		return &Buffer{Bytes: make([]byte, 0, size)}
	}
	if b, ok := pools[size/step].Get().(*Buffer); ok {
		return b
	}
	return &Buffer{Bytes: make([]byte, 0, size)}
}

// Grow sees to it that there is room for n bytes in all.
func (b *Buffer) Grow(n int) {
	if n <= cap(b.Bytes) {
		return
	}
	larger := Get(n)
	larger.Bytes = append(larger.Bytes, b.Bytes...)
	b.Bytes, larger.Bytes = larger.Bytes, b.Bytes
	larger.Release()
}

// Release gives the buffer back. Neither it nor its bytes may be used any more.
func (b *Buffer) Release() {
	if cap(b.Bytes) > largest {
		return
	}
	b.Bytes = b.Bytes[:0]
	pools[cap(b.Bytes)/step].Put(b)
}
