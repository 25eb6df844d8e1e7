package seglog

import (
	"context"
	"errors"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

var errSkeleton = errors.New("not built yet")

// State can be written down as a keyframe.
type State interface {
	// Keyframe calls yield with the state as of the last appended block, in
	// chunks of any size, refs ascending, the last one marked.
	Keyframe(yield func(*segment.Keyframe) error) error
}

// Applier takes the content of a log. What it is given is read-only, and the
// structs and columns are valid until it returns; label strings and the bytes
// of histograms and exemplars may be kept.
type Applier interface {
	ApplyKeyframe(*segment.Keyframe) error
	ApplyBlock(*segment.Block) error
}

// Restorer is a state that can be written down and rebuilt.
type Restorer interface {
	State
	Applier
}

type Store struct{}

func OpenStore(path string, o Options) (*Store, error) { return nil, errSkeleton }
func (s *Store) Logs() []segment.LogID                 { return nil }
func (s *Store) Close() error                          { return nil }

func (s *Store) OpenWriter(state Restorer) (*Writer, error) { return nil, errSkeleton }

type Writer struct{}

func (w *Writer) Append(b *segment.Block) (uint64, error)           { return 0, errSkeleton }
func (w *Writer) WaitDurable(ctx context.Context, seq uint64) error { return errSkeleton }
func (w *Writer) Log() *Log                                         { return nil }
func (w *Writer) Close() error                                      { return nil }

// RotationDue reports whether the next Append will begin a new segment.
func (w *Writer) RotationDue() bool { return false }

// Rotate begins a new segment with a keyframe of the state. An owner whose
// keyframe leaves series out calls it when RotationDue, before it resolves the
// refs of the next block: Append refuses a block whose refs the keyframe left
// out.
func (w *Writer) Rotate() error { return errSkeleton }

func (s *Store) OpenReplica(id segment.LogID, r Applier) (*Replica, error) { return nil, errSkeleton }

type Replica struct{}

func (r *Replica) Position() (seq uint64, checksum uint32, ok bool) { return 0, 0, false }
func (r *Replica) StartSegment(name string, firstSequence uint64) error {
	return errSkeleton
}
func (r *Replica) Append(offset uint64, data []byte) error { return errSkeleton }
func (r *Replica) Log() *Log                               { return nil }
func (r *Replica) Close() error                            { return nil }

type Log struct{}

func (l *Log) ID() segment.LogID                         { return segment.LogID{} }
func (l *Log) First() uint64                             { return 0 }
func (l *Log) Last() uint64                              { return 0 }
func (l *Log) Checksum(seq uint64) (uint32, bool, error) { return 0, false, errSkeleton }
func (l *Log) ReadAfter(seq uint64) (*Reader, error)     { return nil, errSkeleton }
func (l *Log) ReadSince(t int64) (*Reader, error)        { return nil, errSkeleton }
func (l *Log) Rebuild(seq uint64, a Applier) error       { return errSkeleton }
func (l *Log) ReadRaw(after uint64) (*RawReader, error)  { return nil, errSkeleton }
func (l *Log) Segments() []SegmentInfo                   { return nil }

// EachDigest calls yield for the digests of the newest blocks that have one,
// newest first, at most max of them, until it returns false.
func (l *Log) EachDigest(max int, yield func(digest [16]byte, v segment.Verdict, seq uint64) bool) error {
	return errSkeleton
}

// SegmentInfo describes a file of a log.
type SegmentInfo struct {
	Name string
	// FirstSequence that the segment holds or will hold; LastSequence is below
	// it while there is none.
	FirstSequence, LastSequence uint64
	CreateTime                  time.Time
	Size                        int64
	Sealed                      bool
	// MinTime and MaxTime of the samples in its blocks, in ms; MinTime is above
	// MaxTime when there are none.
	MinTime, MaxTime int64
	// Err is a *DamageError when the segment is known to be damaged.
	Err error
}

type Reader struct{}

func (r *Reader) Next(ctx context.Context) (*segment.Block, error) { return nil, errSkeleton }
func (r *Reader) TryNext() (*segment.Block, error)                 { return nil, errSkeleton }
func (r *Reader) Close() error                                     { return nil }

// RawChunk is a piece of a segment file: whole frames, or at its start the file
// header and whole frames.
type RawChunk struct {
	SegmentName   string
	FirstSequence uint64
	// Start marks the first chunk of a segment.
	Start  bool
	Offset uint64
	// Data is valid until the next call of Next.
	Data []byte
	// LastSequence is that of the last block up to the end of this chunk.
	LastSequence uint64
}

type RawReader struct{}

func (r *RawReader) Next(ctx context.Context) (RawChunk, error) { return RawChunk{}, errSkeleton }
func (r *RawReader) Close() error                               { return nil }
