// Package buffer reuses memory for bytes that come over a network, so that a steady
// stream of requests needs no new memory, and makes no work for the garbage collector.
//
// Guaranteed: a buffer is at most 16 KiB larger than was asked for, so a bound on what is
// asked for bounds the memory in use. Not guaranteed: that a released buffer is reused.
// The garbage collector may free it.
package buffer

import "sync"

const (
	// step is what the sizes of buffers are multiples of.
	step = 16 << 10
	// largest is the size up to which buffers are kept. Larger ones are rare, and would
	// be kept for nothing.
	largest = 1 << 20
)

// pools of buffers, by their size in steps.
var pools [largest/step + 1]sync.Pool

// Buffer is memory that is released after use. Its bytes may be appended to within their
// capacity.
type Buffer struct{ Bytes []byte }

// Size returns how large a buffer for n bytes is.
func Size(n int) int {
	if n > largest {
		return n
	}
	return max(1, (n+step-1)/step) * step
}

// Get returns an empty buffer with room for n bytes.
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

// Grow makes room for n bytes in all.
func (b *Buffer) Grow(n int) {
	if n <= cap(b.Bytes) {
		return
	}
	larger := Get(n)
	larger.Bytes = append(larger.Bytes, b.Bytes...)
	b.Bytes, larger.Bytes = larger.Bytes, b.Bytes
	larger.Release()
}

// Release lets the buffer be reused. Neither it nor its bytes may be used afterwards.
func (b *Buffer) Release() {
	if cap(b.Bytes) > largest {
		return
	}
	b.Bytes = b.Bytes[:0]
	pools[cap(b.Bytes)/step].Put(b)
}
