package buffer

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRoom(t *testing.T) {
	for _, n := range []int{0, 1, step - 1, step, step + 1, 5*step + 7, largest - 1, largest, largest + 1, 3 * largest} {
		for range 3 { // New, and lent again.
			b := Get(n)
			assert.Empty(t, b.Bytes)
			assert.GreaterOrEqual(t, cap(b.Bytes), n)
			assert.LessOrEqual(t, cap(b.Bytes), n+step)
			assert.Equal(t, Size(n), cap(b.Bytes))
			b.Bytes = append(b.Bytes, bytes.Repeat([]byte{'x'}, n)...)
			b.Release()
		}
	}
}

func TestGrow(t *testing.T) {
	b := Get(10)
	b.Bytes = append(b.Bytes, "0123456789"...)
	for _, n := range []int{5, step, step + 1, largest, 2 * largest, 1} {
		b.Grow(n)
		assert.Equal(t, "0123456789", string(b.Bytes))
		assert.GreaterOrEqual(t, cap(b.Bytes), n)
	}
	b.Release()
}
