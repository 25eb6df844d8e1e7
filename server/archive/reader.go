package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// reader reads segments of the bucket by blocks, which it keeps in memory, and reads some
// ahead where they are read one after the other.
type reader struct {
	archive *Archive
	cache   *cache
}

func newReader(a *Archive) *reader {
	return &reader{archive: a, cache: newCache(a.lifetime, int64(a.config.Bytes), a.readBlock)}
}

// readBlock reads a block for the cache.
func (a *Archive) readBlock(ctx context.Context, k blockKey) ([]byte, error) {
	if err := a.health.waitToRead(ctx); err != nil {
		return nil, err
	}
	b, err := a.get(ctx, k.object, k.index*blockSize, k.length)
	if !errors.Is(err, bucket.ErrRefused) { // That is of this object.
		a.health.did(err)
	}
	return b, err
}

// OpenSegment implements [seglog.Remote].
func (a *Archive) OpenSegment(log segment.LogID, name string) (seglog.RemoteSegment, error) {
	r := &remoteSegment{archive: a, log: log, name: name}
	if err := r.locate(); err != nil {
		return nil, err
	}
	return r, nil
}

// remoteSegment is a segment in the bucket: a sealed one, or a chain of pieces.
type remoteSegment struct {
	archive *Archive
	log     segment.LogID
	name    string
	objects atomic.Pointer[[]span]
	next    atomic.Int64 // where the last read ended: who goes on there reads in order
}

// span is an object, and which part of the segment it is.
type span struct {
	object       string
	offset, size int64
}

// locate finds the objects of the segment.
func (r *remoteSegment) locate() error {
	spans := r.archive.catalogue.spans(r.log, r.name)
	if len(spans) == 0 {
		return fmt.Errorf("%s of log %s: %w", r.name, r.log, seglog.ErrRemoteGone)
	}
	r.objects.Store(&spans)
	return nil
}

// spans are the objects of a segment, none if it is not there.
func (c *catalogue) spans(id segment.LogID, name string) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.logs[id][name]
	if e == nil || e.bad {
		return nil
	}
	if e.sealed {
		return []span{{layout.Object{Log: id, Segment: name}.Name(), 0, e.info.Size}}
	}
	var spans []span
	for _, p := range layout.Chain(e.pieces) {
		spans = append(spans, span{layout.Object{Log: id, Segment: name, Piece: true, Offset: p.Offset}.Name(), p.Offset, p.Size})
	}
	return spans
}

// Close implements [seglog.RemoteSegment].
func (r *remoteSegment) Close() error { return nil }

// ReadAt implements [io.ReaderAt], in a bounded time.
func (r *remoteSegment) ReadAt(b []byte, offset int64) (int, error) {
	ctx, cancel := context.WithTimeout(r.archive.lifetime, readTime)
	defer cancel()
	n, err := r.read(ctx, b, offset)
	if errors.Is(err, bucket.ErrNotFound) {
		// Pieces go when the sealed segment comes, and that by the retention of the bucket.
		if err = r.find(ctx); err == nil {
			n, err = r.read(ctx, b, offset)
		}
	}
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, seglog.ErrRemoteGone):
		return n, err
	case errors.Is(err, bucket.ErrNotFound):
		return n, fmt.Errorf("%s of log %s: %w", r.name, r.log, seglog.ErrRemoteGone)
	}
	return n, fmt.Errorf("%w: %w", seglog.ErrRemote, err)
}

func (r *remoteSegment) read(ctx context.Context, b []byte, offset int64) (int, error) {
	inOrder := r.next.Swap(offset+int64(len(b))) == offset
	objects := *r.objects.Load()
	n := 0
	for n < len(b) {
		at := offset + int64(n)
		i := slices.IndexFunc(objects, func(s span) bool { return at >= s.offset && at < s.offset+s.size })
		if i < 0 {
			return n, io.EOF
		}
		s := objects[i]
		block, err := r.archive.reader.cache.get(ctx, blockOf(s.object, s.size, at-s.offset))
		if err != nil {
			return n, err
		}
		n += copy(b[n:], block[(at-s.offset)%blockSize:])
		if inOrder {
			r.ahead(objects, i, at)
		}
	}
	return n, nil
}

// ahead starts to read what comes after a place.
func (r *remoteSegment) ahead(objects []span, i int, at int64) {
	for range blocksAhead {
		s := objects[i]
		at = s.offset + ((at-s.offset)/blockSize+1)*blockSize
		if at >= s.offset+s.size {
			if i++; i == len(objects) {
				return
			}
			s = objects[i]
			at = s.offset
		}
		if !r.archive.reader.cache.prefetch(blockOf(s.object, s.size, at-s.offset)) {
			return
		}
	}
}

// find asks the bucket for a segment of which an object was not there.
func (r *remoteSegment) find(ctx context.Context) error {
	c := r.archive.catalogue
	sealed := layout.Object{Log: r.log, Segment: r.name}.Name()
	there, err := r.archive.stat(ctx, sealed)
	if errors.Is(err, bucket.ErrNotFound) {
		c.drop(r.log, r.name)
		return fmt.Errorf("%s of log %s: %w", r.name, r.log, seglog.ErrRemoteGone)
	}
	if err != nil {
		return err
	}
	ends, err := r.archive.readEnds(ctx, r.log, r.name, there.Size)
	if err != nil && !isBad(err) {
		return err
	}
	c.setSealed(r.log, r.name, ends, err)
	c.publish(r.log)
	return r.locate()
}
