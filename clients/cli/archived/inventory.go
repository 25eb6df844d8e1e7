package archived

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// Log is what a bucket has of a log.
type Log struct {
	ID segment.LogID
	// Segments by their first sequence.
	Segments []Segment
}

// Size of all segments in bytes.
func (l *Log) Size() (n int64) {
	for i := range l.Segments {
		n += l.Segments[i].Size
	}
	return n
}

// Segment is one in a bucket, sealed or in pieces.
type Segment struct {
	Log  segment.LogID
	Name string
	// First and Last sequence. Last is First-1 if there is no block, or if Err says why it
	// is not known.
	First, Last uint64
	Size        int64
	// Sealed says that it is one object, and not in Pieces.
	Sealed bool
	Pieces []layout.Piece
	// Modified is when the last of it was created, by the bucket's clock.
	Modified time.Time
	// Missing is how many blocks are missing between the segment before and this one.
	Missing uint64
	// Err says what is wrong with its end.
	Err error
}

// readsAtOnce is how many objects are read at a time.
const readsAtOnce = 16

// Read lists a bucket, and reads the end of each segment.
func Read(ctx context.Context, b bucket.Bucket) ([]Log, error) {
	segments := map[[2]string]*Segment{}
	for object, err := range b.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		if o, ok := layout.ParseName(object.Name); ok {
			add(segments, o, object)
		}
	}
	reads, reading := errgroup.WithContext(ctx)
	reads.SetLimit(readsAtOnce)
	for _, s := range segments {
		reads.Go(func() error { return s.readEnd(reading, b) })
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	return byLog(segments), nil
}

// add takes what a list says of an object. Pieces come by their offsets.
func add(segments map[[2]string]*Segment, o layout.Object, object bucket.Object) {
	key := [2]string{o.Log.String(), o.Segment}
	s := segments[key]
	if s == nil {
		s = &Segment{Log: o.Log, Name: o.Segment}
		s.First, _ = seglog.FirstSequence(o.Segment) // it has one, by its name
		segments[key] = s
	}
	switch {
	case !o.Piece: // pieces are removed after it has come
		s.Sealed, s.Pieces, s.Size, s.Modified = true, nil, object.Size, object.Modified
	case !s.Sealed:
		s.Pieces = append(s.Pieces, layout.Piece{Offset: o.Offset, Size: object.Size})
		s.Size += object.Size
		s.Modified = object.Modified
	}
}

// byLog sorts segments, and finds what is missing between them.
func byLog(segments map[[2]string]*Segment) (logs []Log) {
	for _, key := range slices.SortedFunc(maps.Keys(segments), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(segments[a].First, segments[b].First), cmp.Compare(a[1], b[1]))
	}) {
		s := segments[key]
		if n := len(logs); n == 0 || logs[n-1].ID != s.Log {
			logs = append(logs, Log{ID: s.Log})
		}
		log := &logs[len(logs)-1]
		if n := len(log.Segments); n > 0 && s.First > log.Segments[n-1].Last+1 {
			s.Missing = s.First - log.Segments[n-1].Last - 1
		}
		log.Segments = append(log.Segments, *s)
	}
	return logs
}

// readEnd reads the segment's last sequence. What is wrong with its bytes is said in
// Err.
func (s *Segment) readEnd(ctx context.Context, b bucket.Bucket) error {
	s.Last = s.First - 1
	if !s.Sealed {
		s.join()
		if len(s.Pieces) == 0 {
			return nil
		}
	}
	h, err := s.lastFrame(ctx, b)
	switch {
	case errors.Is(err, segment.ErrCorrupt) || errors.Is(err, segment.ErrShort) || errors.Is(err, segment.ErrVersion) || errors.Is(err, segment.ErrTooLarge):
		s.Err = err
	case errors.Is(err, bucket.ErrNotFound):
		s.Err = errors.New("it was removed while the bucket was read")
	case err != nil:
		return err
	default:
		s.Last = h.Sequence
	}
	return nil
}

// join leaves the pieces that continue each other.
func (s *Segment) join() {
	pieces := s.Pieces
	s.Pieces, s.Size = layout.Chain(pieces), 0
	if len(s.Pieces) < len(pieces) {
		s.Err = fmt.Errorf("its piece at %d does not continue the ones before", pieces[len(s.Pieces)].Offset)
	}
	for _, p := range s.Pieces {
		s.Size += p.Size
	}
}

// lastFrame returns the header of the last frame: the footer of a sealed segment.
func (s *Segment) lastFrame(ctx context.Context, b bucket.Bucket) (segment.FrameHeader, error) {
	if s.Sealed {
		return s.footer(ctx, b)
	}
	var last segment.FrameHeader
	piece := s.Pieces[len(s.Pieces)-1]
	r := newChunks(ctx, b, s.pieceName(piece), piece.Size)
	frames := segment.NewFrameReader(r, 0)
	if piece.Offset == 0 {
		frames = segment.NewFrameReader(r, segment.HeaderSize)
	}
	for {
		h, err := frames.Skip(piece.Size)
		if errors.Is(err, io.EOF) {
			if last.Kind == 0 {
				err = fmt.Errorf("its last piece: %w: no frame", segment.ErrShort)
				return last, err
			}
			return last, nil
		}
		if err != nil {
			return last, err
		}
		last = h
	}
}

func (s *Segment) footer(ctx context.Context, b bucket.Bucket) (h segment.FrameHeader, err error) {
	if s.Size < segment.HeaderSize+segment.FrameHeaderSize {
		return h, fmt.Errorf("%w: %d bytes", segment.ErrShort, s.Size)
	}
	r, err := b.Open(ctx, s.objectName(), s.Size-segment.FrameHeaderSize, segment.FrameHeaderSize)
	if err != nil {
		return h, err
	}
	end, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return h, err
	}
	if !bytes.HasPrefix(end, []byte(segment.FrameMagic)) {
		return h, fmt.Errorf("%w: it has no footer", segment.ErrCorrupt)
	}
	if h, err = segment.ParseFrameHeader(end); err == nil && h.Kind != segment.KindFooter {
		err = fmt.Errorf("%w: it ends with a %s, not a footer", segment.ErrCorrupt, h.Kind)
	}
	return h, err
}

// objectName of the sealed segment.
func (s *Segment) objectName() string {
	return layout.Object{Log: s.Log, Segment: s.Name}.Name()
}

func (s *Segment) pieceName(p layout.Piece) string {
	return layout.Object{Log: s.Log, Segment: s.Name, Piece: true, Offset: p.Offset}.Name()
}
