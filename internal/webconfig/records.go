package webconfig

import (
	"net"
	"sync"
)

// recordSize is how much a record of TLS carries at most.
const recordSize = 16 << 10

var records = sync.Pool{New: func() any { return new([recordSize]byte) }}

// WriteBuffers writes pieces as if they were one: a piece of a few bytes would otherwise
// be a record of its own. It is for one goroutine at a time, as Write is.
func (c *conn) WriteBuffers(pieces net.Buffers) error {
	record := records.Get().(*[recordSize]byte)
	defer records.Put(record)
	filled := 0
	for _, piece := range pieces {
		for len(piece) > 0 {
			n := copy(record[filled:], piece)
			piece, filled = piece[n:], filled+n
			if filled < recordSize {
				break
			}
			if _, err := c.Write(record[:]); err != nil {
				return err
			}
			filled = 0
		}
	}
	if filled == 0 {
		return nil
	}
	_, err := c.Write(record[:filled])
	return err
}
