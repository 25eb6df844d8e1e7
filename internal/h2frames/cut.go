package h2frames

import (
	"net"

	"golang.org/x/net/http2"
)

// cutter cuts the frames of what is written to a connection, wherever the writes
// begin and end.
type cutter struct {
	header [frameHeader]byte // of the frame that is being written
	got    int               // bytes of the header
	left   int               // bytes of the frame that are still to come
	piece  int               // and of them, those that belong to the header written last
	pieces net.Buffers       // to write
	heads  []byte            // those in pieces
	rest   net.Buffers       // of pieces, while they are written
}

// fits says that p is whole frames, none of which is to be cut.
func (c *cutter) fits(p []byte, limit int) bool {
	if c.got > 0 || c.left > 0 {
		return false
	}
	for len(p) >= frameHeader && frameSize(p) <= limit && frameHeader+frameSize(p) <= len(p) {
		p = p[frameHeader+frameSize(p):]
	}
	return len(p) == 0
}

// cut returns what to write for p. It is used up by writing it, and holds until the
// next call.
func (c *cutter) cut(p []byte, limit int) *net.Buffers {
	c.pieces, c.heads = c.pieces[:0], c.heads[:0]
	for len(p) > 0 {
		if c.left > 0 {
			n := min(len(p), c.piece)
			c.pieces = append(c.pieces, p[:n])
			p = p[n:]
			c.left -= n
			if c.piece -= n; c.piece == 0 && c.left > 0 {
				c.begin(limit)
			}
			continue
		}
		n := copy(c.header[c.got:], p)
		p = p[n:]
		if c.got += n; c.got == frameHeader {
			c.got, c.left = 0, frameSize(c.header[:])
			c.begin(limit)
		}
	}
	c.rest = c.pieces
	return &c.rest
}

// begin writes the header of what is left of a frame, or of as much as the
// client takes. Only data comes in large frames; net/http does not pad it.
func (c *cutter) begin(limit int) {
	c.piece = c.left
	if http2.FrameType(c.header[3]) == http2.FrameData {
		c.piece = min(c.left, limit)
	}
	at := len(c.heads)
	c.heads = append(c.heads, c.header[:]...)
	head := c.heads[at:len(c.heads):len(c.heads)]
	setFrameSize(head, c.piece)
	if c.piece < c.left {
		head[4] &^= byte(http2.FlagDataEndStream)
	}
	c.pieces = append(c.pieces, head)
}
