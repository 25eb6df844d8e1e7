package archived

import (
	"context"
	"errors"
	"io"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/layout"
)

// chunkSize is how much is asked for at once.
const chunkSize = 1 << 20

// chunks reads an object from where it is asked to, a chunk at a time. It is for one
// goroutine.
type chunks struct {
	ctx   context.Context
	from  bucket.Bucket
	name  string
	size  int64
	chunk []byte
	start int64 // of the chunk
}

func newChunks(ctx context.Context, from bucket.Bucket, name string, size int64) *chunks {
	return &chunks{ctx: ctx, from: from, name: name, size: size}
}

// ReadAt implements [io.ReaderAt].
func (c *chunks) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		at := offset + int64(n)
		if at >= c.size {
			return n, io.EOF
		}
		if at < c.start || at >= c.start+int64(len(c.chunk)) {
			if err := c.read(at); err != nil {
				return n, err
			}
		}
		n += copy(p[n:], c.chunk[at-c.start:])
	}
	return n, nil
}

// read gets the chunk from an offset on.
func (c *chunks) read(at int64) error {
	r, err := c.from.Open(c.ctx, c.name, at, min(chunkSize, c.size-at))
	if err != nil {
		return err
	}
	c.chunk, err = io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err == nil && len(c.chunk) == 0 {
		err = io.ErrUnexpectedEOF
	}
	c.start = at
	return err
}

// joined reads the pieces of a segment as one file.
type joined struct {
	pieces  []layout.Piece
	readers []*chunks
}

// ReadAt implements [io.ReaderAt].
func (j *joined) ReadAt(p []byte, offset int64) (n int, err error) {
	for i, piece := range j.pieces {
		at := offset + int64(n)
		if at >= piece.Offset+piece.Size || n == len(p) {
			continue
		}
		part := p[n:min(int64(len(p)), int64(n)+piece.Offset+piece.Size-at)]
		m, err := j.readers[i].ReadAt(part, at-piece.Offset)
		if n += m; err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Reader returns what reads a segment, sealed or joined of its pieces. It is for one
// goroutine.
func (s *Segment) Reader(ctx context.Context, b bucket.Bucket) io.ReaderAt {
	if s.Sealed {
		return newChunks(ctx, b, s.objectName(), s.Size)
	}
	j := &joined{pieces: s.Pieces}
	for _, p := range s.Pieces {
		j.readers = append(j.readers, newChunks(ctx, b, s.pieceName(p), p.Size))
	}
	return j
}

// Find returns one segment of a bucket by its log and name, and ErrNotFound if it is
// there neither sealed nor in pieces.
func Find(ctx context.Context, b bucket.Bucket, o layout.Object) (*Segment, error) {
	segments := map[[2]string]*Segment{}
	sealed := layout.Object{Log: o.Log, Segment: o.Segment}.Name()
	for object, err := range b.List(ctx, sealed) {
		if err != nil {
			return nil, err
		}
		if found, ok := layout.ParseName(object.Name); ok && found.Segment == o.Segment {
			add(segments, found, object)
		}
	}
	for _, s := range segments {
		if !s.Sealed {
			s.join()
		}
		return s, nil
	}
	return nil, bucket.ErrNotFound
}
