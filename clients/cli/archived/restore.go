package archived

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// Restored is what there is of a log in a folder.
type Restored struct {
	Log segment.LogID
	// First and Last sequence, and how many blocks are missing between them.
	First, Last, Missing uint64
	Segments             int
	Bytes                int64
}

// Restore brings logs to a folder, which is created, or is empty, or one in which a
// restore of the same choice was broken off.
func Restore(ctx context.Context, b bucket.Bucket, folder string, choice Choice) ([]Restored, error) {
	choice, err := begin(folder, choice)
	if err != nil {
		return nil, err
	}
	logs, err := Read(ctx, b)
	if err != nil {
		return nil, err
	}
	if logs, err = choice.of(logs); err != nil {
		return nil, err
	}
	if err := room(folder, logs); err != nil {
		return nil, err
	}
	store, err := seglog.OpenStore(folder, seglog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	restored, err := restoreAll(ctx, b, store, logs)
	if err = errors.Join(err, store.Close()); err != nil {
		return restored, err
	}
	return restored, os.Remove(filepath.Join(folder, markName))
}

// restoreAll restores one log after the other. Of a log that cannot be restored whole
// there is what comes before.
func restoreAll(ctx context.Context, b bucket.Bucket, store *seglog.Store, logs []Log) (all []Restored, failed error) {
	for i := range logs {
		restored, err := restoreLog(ctx, b, store, &logs[i])
		if restored.Segments > 0 {
			all = append(all, restored)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("log %s: %w", logs[i].ID, err))
		}
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
	}
	return all, failed
}

// stateless is the state of a log of which only the files are needed.
type stateless struct{}

func (stateless) ApplyKeyframe(*segment.Keyframe) error { return nil }
func (stateless) ApplyBlock(*segment.Block) error       { return nil }

// restoreLog restores a log. A segment that is damaged ends where the damage is, and what
// comes after it is restored: it stands alone.
func restoreLog(ctx context.Context, b bucket.Bucket, store *seglog.Store, log *Log) (restored Restored, err error) {
	var failed error
	for next := 0; next < len(log.Segments); next++ {
		mirror, err := store.OpenMirror(log.ID, stateless{})
		if err != nil {
			return restored, err
		}
		next, err = restoreSegments(ctx, b, mirror, log.Segments, next)
		restored = summed(log.ID, mirror.Log())
		if err = errors.Join(err, mirror.Close()); err != nil {
			failed = errors.Join(failed, err)
		}
		if err != nil && !damaged(err) {
			break
		}
	}
	return restored, failed
}

// damaged says that an error is of the bytes of a segment, not of reading them.
func damaged(err error) bool {
	for _, reason := range []error{seglog.ErrMismatch, segment.ErrCorrupt, segment.ErrShort, segment.ErrVersion, segment.ErrTooLarge, errIncomplete} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// restoreSegments restores segments until all are, or one could not be, which it returns
// the index of.
func restoreSegments(ctx context.Context, b bucket.Bucket, mirror *seglog.Mirror, segments []Segment, next int) (int, error) {
	for ; next < len(segments); next++ {
		s := &segments[next]
		err := restoreSegment(ctx, b, mirror, s)
		if err == nil && s.Err != nil {
			err = fmt.Errorf("%w: %w", errIncomplete, s.Err)
		}
		if err != nil {
			return next, fmt.Errorf("segment %s: %w", s.Name, err)
		}
	}
	return next, nil
}

// summed is what there is of a log.
func summed(id segment.LogID, log *seglog.Log) Restored {
	r := Restored{Log: id}
	for _, s := range log.Segments() {
		if r.Segments == 0 {
			r.First = s.FirstSequence
		} else if s.FirstSequence > r.Last+1 {
			r.Missing += s.FirstSequence - r.Last - 1
		}
		r.Last = s.LastSequence
		r.Segments++
		r.Bytes += s.Size
	}
	return r
}

// errIncomplete says that of a segment there is not all.
var errIncomplete = errors.New("not all of it can be restored")

// restoreSegment brings what is missing of a segment.
func restoreSegment(ctx context.Context, b bucket.Bucket, mirror *seglog.Mirror, s *Segment) error {
	here := mirror.Log().Segments()
	var offset int64
	if i := slices.IndexFunc(here, func(h seglog.SegmentInfo) bool { return h.Name == s.Name }); i >= 0 {
		offset = here[i].Size
		if offset < s.Size && i < len(here)-1 {
			return fmt.Errorf("%w: it is damaged after %d bytes", errIncomplete, offset)
		}
	}
	if offset >= s.Size {
		return nil
	}
	if offset == 0 {
		if err := mirror.StartSegment(s.Name, s.First); err != nil {
			return err
		}
	}
	return appendFrames(mirror, io.NewSectionReader(s.Reader(ctx, b), offset, s.Size-offset), offset)
}
