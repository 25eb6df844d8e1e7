package archived

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// Choice is what of a bucket is restored.
type Choice struct {
	// Bucket is its URL.
	Bucket string
	// Logs by the beginnings of their ids; all if there are none.
	Logs []string
	// Since leaves out the segments that were complete before. Zero: none. Given is how it
	// was said, perhaps as a duration: who says the same again means the same time.
	Since time.Time
	Given string
}

// Restored is what there is of a log in a folder.
type Restored struct {
	Log segment.LogID
	// First and Last sequence, and how many blocks are missing between them.
	First, Last, Missing uint64
	Segments             int
	Bytes                int64
}

// ErrOccupied says that there is something in the folder that was not restored into it.
var ErrOccupied = errors.New("there is something in the folder")

// markName is of a file that is in the folder until all is restored. It has the choice,
// so that a restore that was broken off goes on as it was begun.
const markName = "restoring"

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

// begin marks the folder, or says why it cannot be used. It returns the choice that the
// restore was begun with.
func begin(folder string, choice Choice) (Choice, error) {
	path := filepath.Join(folder, markName)
	mark, err := os.ReadFile(path)
	if err == nil {
		return choice.goOn(folder, mark)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return choice, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return choice, err
	}
	if len(entries) > 0 {
		return choice, fmt.Errorf("%w: %s has %s; name one that is empty, or not there", ErrOccupied, folder, entries[0].Name())
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return choice, err
	}
	if mark, err = json.Marshal(choice); err != nil {
		return choice, err
	}
	return choice, os.WriteFile(path, mark, 0o600)
}

// goOn returns the choice in a mark, if it is the same.
func (c Choice) goOn(folder string, mark []byte) (before Choice, err error) {
	if err := json.Unmarshal(mark, &before); err != nil {
		return c, fmt.Errorf("%s: %w", filepath.Join(folder, markName), err)
	}
	if before.Bucket != c.Bucket || !slices.Equal(before.Logs, c.Logs) || before.Given != c.Given {
		return c, fmt.Errorf("%w: a restore to %s was begun otherwise: %s; go on with the same, or remove the folder", ErrOccupied, folder, mark)
	}
	return before, nil
}

// of returns what is chosen of a bucket's logs.
func (c Choice) of(logs []Log) (chosen []Log, err error) {
	found := make([]bool, len(c.Logs))
	for _, log := range logs {
		if wanted := len(c.Logs) == 0; !wanted {
			for i, begin := range c.Logs {
				if strings.HasPrefix(log.ID.String(), begin) {
					found[i], wanted = true, true
				}
			}
			if !wanted {
				continue
			}
		}
		if log.Segments = c.since(log.Segments); len(log.Segments) > 0 {
			chosen = append(chosen, log)
		}
	}
	for i, begin := range c.Logs {
		if !found[i] {
			return nil, fmt.Errorf("the bucket has no log %s", begin)
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("the bucket has nothing of what is to be restored")
	}
	return chosen, nil
}

// since returns the segments that were not complete before: each stands alone.
func (c Choice) since(segments []Segment) []Segment {
	for len(segments) > 0 && segments[0].Modified.Before(c.Since) {
		segments = segments[1:]
	}
	return segments
}

// room says whether there is room for what is not there yet.
func room(folder string, logs []Log) error {
	var need int64
	for i := range logs {
		need += logs[i].Size()
	}
	_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be read takes no room that is known
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			need -= info.Size()
		}
		return nil
	})
	var disk unix.Statfs_t
	if err := unix.Statfs(folder, &disk); err != nil {
		return fmt.Errorf("room at %s: %w", folder, err)
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); need > free { //nolint:unconvert // their types differ by system
		return fmt.Errorf("%d bytes are to be restored, and %s has room for %d", need, folder, free)
	}
	return nil
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

// appendAtOnce is about how many bytes are given to a mirror together.
const appendAtOnce = 1 << 20

// appendFrames appends whole frames, from an offset of a segment on.
func appendFrames(mirror *seglog.Mirror, r io.Reader, offset int64) error {
	var buffer []byte
	if offset == 0 {
		buffer = make([]byte, segment.HeaderSize)
		if _, err := io.ReadFull(r, buffer); err != nil {
			return fmt.Errorf("file header: %w", err)
		}
	}
	for {
		var err error
		buffer, err = readFrame(r, buffer)
		if err != nil || len(buffer) >= appendAtOnce {
			// What comes before a damaged frame is good.
			if appended := appendAll(mirror, offset, buffer); appended != nil {
				return appended
			}
			offset += int64(len(buffer))
			buffer = buffer[:0]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("offset %d: %w", offset, err)
		}
	}
}

func appendAll(mirror *seglog.Mirror, offset int64, frames []byte) error {
	if len(frames) == 0 {
		return nil
	}
	return mirror.Append(uint64(offset), frames)
}

// readFrame appends the next frame to a buffer. At the end the error is io.EOF.
func readFrame(r io.Reader, buffer []byte) ([]byte, error) {
	n := len(buffer)
	buffer = append(buffer, make([]byte, segment.FrameHeaderSize)...)
	if _, err := io.ReadFull(r, buffer[n:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = segment.ErrShort
		}
		return buffer[:n], err
	}
	h, err := segment.ParseFrameHeader(buffer[n:])
	if err != nil {
		return buffer[:n], err
	}
	payload := len(buffer)
	buffer = append(buffer, make([]byte, h.PayloadLen)...)
	if _, err := io.ReadFull(r, buffer[payload:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = segment.ErrShort
		}
		return buffer[:n], fmt.Errorf("payload: %w", err)
	}
	if err := h.VerifyPayload(buffer[payload:]); err != nil {
		return buffer[:n], err
	}
	return buffer, nil
}
