package h2frames

import (
	"net"

	"golang.org/x/net/http2"

	"github.com/promgrpc/exporter/internal/invariant"
)

// cutter cuts the frames in what is written to a connection. See the package's
// drawing.
type cutter struct {
	frame
	piece  int         // bytes of the payload that are still to come under the header written last
	pieces net.Buffers // to write: headers, and slices of what was passed in
	heads  []byte      // what the headers in pieces are slices of
	rest   net.Buffers // of pieces, while they are written
}

// fits says whether p is complete frames that need no cutting.
func (c *cutter) fits(p []byte, limit int) bool {
	if !c.between() {
		return false
	}
	for len(p) >= headerSize && payloadSize(p) <= limit && headerSize+payloadSize(p) <= len(p) {
		p = p[headerSize+payloadSize(p):]
	}
	return len(p) == 0
}

// cut returns what to write for p. It is valid until the next call, and consumed by
// writing it.
func (c *cutter) cut(p []byte, limit int) *net.Buffers {
	c.pieces, c.heads = c.pieces[:0], c.heads[:0]
	for len(p) > 0 {
		if c.payload > 0 {
			n := min(len(p), c.piece)
			c.pieces = append(c.pieces, p[:n])
			p = p[n:]
			c.payload -= n
			if c.piece -= n; c.piece == 0 && c.payload > 0 {
				c.writeHeader(limit)
			}
			continue
		}
		n, complete := c.readHeader(p)
		p = p[n:]
		if complete {
			c.writeHeader(limit)
		}
	}
	c.rest = c.pieces
	return &c.rest
}

// writeHeader writes the header of the rest of a frame, or of as much of it as the
// client accepts. Only DATA frames exceed that: net/http splits headers at Small.
func (c *cutter) writeHeader(limit int) {
	c.piece = c.payload
	if http2.FrameType(c.header[3]) == http2.FrameData {
		c.piece = min(c.payload, limit)
	}
	at := len(c.heads)
	c.heads = append(c.heads, c.header[:]...)
	head := c.heads[at:len(c.heads):len(c.heads)]
	setPayloadSize(head, c.piece)
	if c.piece < c.payload {
		head[4] &^= byte(http2.FlagDataEndStream)
	}
	if invariant.On {
		padded := http2.Flags(head[4]).Has(http2.FlagDataPadded)
		invariant.Check(c.piece == c.payload || !padded, "a padded frame is cut at %d of %d bytes", c.piece, c.payload)
		invariant.Check(c.piece <= limit, "a frame of type %d and %d bytes where %d are accepted", head[3], c.piece, limit)
	}
	c.pieces = append(c.pieces, head)
}
