package archived

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/buckettest"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// blocks of each segment of a test's log.
const blocks = 20

// logOf returns the segments of a log, by their names in its order, the last of which
// has no footer; and the offsets at which frames end.
func logOf(t *testing.T, id segment.LogID, segments int) (names []string, files map[string][]byte, ends map[string][]int64) {
	t.Helper()
	files, ends = map[string][]byte{}, map[string][]int64{}
	e := segment.NewEncoder()
	sequence := uint64(0)
	for i := range segments {
		name := fmt.Sprintf("20260102T0%d0405.000Z-%020d.seg", i, sequence+1)
		b := e.StartSegment(nil, segment.Header{LogID: id, FirstSequence: sequence + 1, CreateTime: 1000})
		frame := func(next []byte, err error) {
			require.NoError(t, err)
			b = next
			ends[name] = append(ends[name], int64(len(b)))
		}
		frame(e.AppendKeyframe(b, &segment.Keyframe{Sequence: sequence, NextRef: 1, Last: true}, 1000, 0))
		for range blocks {
			sequence++
			frame(e.AppendBlock(b, &segment.Block{Sequence: sequence, Time: 1000, Digest: [16]byte{byte(sequence)}}, 0))
		}
		if i < segments-1 {
			frame(e.AppendFooter(b, 2000, uint64(len(b))))
		}
		names, files[name] = append(names, name), b
	}
	return names, files, ends
}

// filled is a bucket with a log of three sealed segments and one in three pieces.
type filled struct {
	*buckettest.Faulty
	id    segment.LogID
	names []string
	files map[string][]byte
	path  string
}

func fill(t *testing.T) *filled {
	t.Helper()
	path := t.TempDir()
	b, err := bucket.Open(t.Context(), path, bucket.Options{})
	require.NoError(t, err)
	f := &filled{Faulty: buckettest.New(b), id: segment.NewLogID(), path: path}
	f.add(t, f.id)
	require.NoError(t, b.Create(t.Context(), "leases/retention-1", strings.NewReader(""), 0))
	require.NoError(t, b.Create(t.Context(), "somebody/else", strings.NewReader("x"), 1))
	return f
}

func (f *filled) add(t *testing.T, id segment.LogID) {
	t.Helper()
	names, files, ends := logOf(t, id, 4)
	f.names, f.files = names, files
	for _, name := range names[:3] {
		f.put(t, layout.Object{Log: id, Segment: name}, files[name])
	}
	open := names[3]
	for start, i := int64(0), 1; i <= 3; i++ {
		end := ends[open][len(ends[open])*i/3-1]
		f.put(t, layout.Object{Log: id, Segment: open, Piece: true, Offset: start}, files[open][start:end])
		start = end
	}
	// Of a sealed one there may still be pieces.
	f.put(t, layout.Object{Log: id, Segment: names[2], Piece: true}, files[names[2]][:ends[names[2]][0]])
}

func (f *filled) put(t *testing.T, o layout.Object, content []byte) {
	t.Helper()
	require.NoError(t, f.Create(t.Context(), o.Name(), bytes.NewReader(content), int64(len(content))))
}

// damage changes a byte in the middle of an object.
func (f *filled) damage(t *testing.T, o layout.Object) {
	t.Helper()
	path := filepath.Join(f.path, o.Name())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[len(content)/2] ^= 0xff
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

// verify has the folder hold the log, from one of its segments on, and a store open it.
func (f *filled) verify(t *testing.T, folder string, id segment.LogID, names []string) {
	t.Helper()
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(folder, id.String(), name))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(f.files[name], got), name)
	}
	store, err := seglog.OpenStore(folder, seglog.Options{})
	require.NoError(t, err)
	defer store.Close()
	assert.Contains(t, store.Logs(), id)
	mirror, err := store.OpenEnded(id)
	require.NoError(t, err)
	assert.Len(t, mirror.Log().Segments(), len(names))
	assert.EqualValues(t, 4*blocks, mirror.Log().Last())
	require.NoError(t, mirror.Close())
}

func TestRead(t *testing.T) {
	f := fill(t)
	logs, err := Read(t.Context(), f)
	require.NoError(t, err)
	require.Len(t, logs, 1)
	require.Len(t, logs[0].Segments, 4)
	for i, s := range logs[0].Segments {
		require.NoError(t, s.Err)
		assert.Equal(t, f.names[i], s.Name)
		assert.EqualValues(t, i*blocks+1, s.First)
		assert.EqualValues(t, (i+1)*blocks, s.Last)
		assert.EqualValues(t, len(f.files[s.Name]), s.Size)
		assert.Equal(t, i < 3, s.Sealed)
		assert.Zero(t, s.Missing)
	}
	assert.Len(t, logs[0].Segments[3].Pieces, 3)

	require.NoError(t, f.Delete(t.Context(), layout.Object{Log: f.id, Segment: f.names[1]}.Name()))
	logs, err = Read(t.Context(), f)
	require.NoError(t, err)
	require.Len(t, logs[0].Segments, 3)
	assert.EqualValues(t, blocks, logs[0].Segments[1].Missing)

	f.Set(buckettest.Faults{Away: true})
	_, err = Read(t.Context(), f)
	require.ErrorIs(t, err, buckettest.ErrAway)
}

func TestReadOfDamage(t *testing.T) {
	f := fill(t)
	require.NoError(t, os.Truncate(filepath.Join(f.path, layout.Object{Log: f.id, Segment: f.names[0]}.Name()), 1000))
	pieces, err := Read(t.Context(), f)
	require.NoError(t, err)
	second := pieces[0].Segments[3].Pieces[1]
	require.NoError(t, f.Delete(t.Context(), pieces[0].Segments[3].pieceName(second)))
	logs, err := Read(t.Context(), f)
	require.NoError(t, err)
	require.ErrorIs(t, logs[0].Segments[0].Err, segment.ErrCorrupt)
	require.ErrorContains(t, logs[0].Segments[3].Err, "does not continue")
	assert.Len(t, logs[0].Segments[3].Pieces, 1)
	assert.Greater(t, logs[0].Segments[3].Last, logs[0].Segments[3].First)
	assert.Less(t, logs[0].Segments[3].Last, uint64(4*blocks))
}

func TestRestore(t *testing.T) {
	f := fill(t)
	folder := filepath.Join(t.TempDir(), "not", "there")
	restored, err := Restore(t.Context(), f, folder, Choice{})
	require.NoError(t, err)
	size := int64(0)
	for _, file := range f.files {
		size += int64(len(file))
	}
	assert.Equal(t, []Restored{{Log: f.id, First: 1, Last: 4 * blocks, Segments: 4, Bytes: size}}, restored)
	f.verify(t, folder, f.id, f.names)
	assert.NoFileExists(t, filepath.Join(folder, markName))

	_, err = Restore(t.Context(), f, folder, Choice{})
	require.ErrorIs(t, err, ErrOccupied)
}

func TestRestoreOverwritesNothing(t *testing.T) {
	f := fill(t)
	folder := t.TempDir()
	other := filepath.Join(folder, "something")
	require.NoError(t, os.WriteFile(other, []byte("else"), 0o600))
	_, err := Restore(t.Context(), f, folder, Choice{})
	require.ErrorIs(t, err, ErrOccupied)
	require.ErrorContains(t, err, "something")
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

// A folder that a server has open is not restored into.
func TestRestoreOfAnOpenFolder(t *testing.T) {
	f := fill(t)
	folder := t.TempDir()
	f.Set(buckettest.Faults{Away: true})
	_, err := Restore(t.Context(), f, folder, Choice{})
	require.ErrorIs(t, err, buckettest.ErrAway)
	f.Set(buckettest.Faults{})
	store, err := seglog.OpenStore(folder, seglog.Options{})
	require.NoError(t, err)
	_, err = Restore(t.Context(), f, folder, Choice{})
	require.ErrorIs(t, err, seglog.ErrLocked)
	require.NoError(t, store.Close())
	_, err = Restore(t.Context(), f, folder, Choice{})
	require.NoError(t, err)
	f.verify(t, folder, f.id, f.names)
}

// What breaks off anywhere goes on, with the same choice only.
func TestRestoreGoesOn(t *testing.T) {
	f := fill(t)
	folder := t.TempDir()
	for calls := 5; ; calls++ {
		counted := &lasting{Bucket: f}
		counted.left.Store(int64(calls))
		_, err := Restore(t.Context(), counted, folder, Choice{Given: "1h", Since: time.Unix(int64(calls), 0)})
		if err == nil {
			break
		}
		require.ErrorIs(t, err, buckettest.ErrAway)
		require.FileExists(t, filepath.Join(folder, markName))
		_, err = Restore(t.Context(), f, folder, Choice{Given: "2h"})
		require.ErrorIs(t, err, ErrOccupied)
		require.Less(t, calls, 100)
	}
	f.verify(t, folder, f.id, f.names)
}

// lasting is a bucket that goes away after so many reads.
type lasting struct {
	bucket.Bucket
	left atomic.Int64
}

func (l *lasting) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if l.left.Add(-1) < 0 {
		return nil, buckettest.ErrAway
	}
	return l.Bucket.Open(ctx, name, offset, length)
}

func TestRestoreOfAChoice(t *testing.T) {
	f := fill(t)
	first := f.id
	second := segment.NewLogID()
	f.add(t, second)
	restored, err := Restore(t.Context(), f, t.TempDir(), Choice{Logs: []string{first.String()[:12]}})
	require.NoError(t, err)
	require.Len(t, restored, 1)
	assert.Equal(t, first, restored[0].Log)

	for _, name := range f.names[:2] {
		old := time.Now().Add(-time.Hour)
		require.NoError(t, os.Chtimes(filepath.Join(f.path, layout.Object{Log: second, Segment: name}.Name()), old, old))
	}
	folder := t.TempDir()
	restored, err = Restore(t.Context(), f, folder, Choice{Since: time.Now().Add(-time.Minute), Logs: []string{second.String()}})
	require.NoError(t, err)
	assert.EqualValues(t, 2*blocks+1, restored[0].First)
	f.verify(t, folder, second, f.names[2:])

	_, err = Restore(t.Context(), f, t.TempDir(), Choice{Logs: []string{"ffffffff"}})
	require.ErrorContains(t, err, "the bucket has no log ffffffff")
	_, err = Restore(t.Context(), f, t.TempDir(), Choice{Since: time.Now().Add(time.Hour)})
	require.ErrorContains(t, err, "nothing of what is to be restored")
}

// What is damaged is left out from there on, and the rest is restored. A second attempt
// says so again.
func TestRestoreOfDamage(t *testing.T) {
	f := fill(t)
	f.damage(t, layout.Object{Log: f.id, Segment: f.names[1]})
	folder := t.TempDir()
	for range 2 {
		restored, err := Restore(t.Context(), f, folder, Choice{})
		require.ErrorContains(t, err, f.names[1])
		require.Len(t, restored, 1)
		assert.EqualValues(t, 1, restored[0].First)
		assert.EqualValues(t, 4*blocks, restored[0].Last)
		assert.NotZero(t, restored[0].Missing)
		assert.Less(t, restored[0].Missing, uint64(blocks))
	}
}

func TestRoom(t *testing.T) {
	logs := []Log{{Segments: []Segment{{Size: 1 << 60}}}}
	require.ErrorContains(t, room(t.TempDir(), logs), "has room for")
	require.NoError(t, room(t.TempDir(), []Log{{Segments: []Segment{{Size: 1}}}}))
	require.ErrorIs(t, room(filepath.Join(t.TempDir(), "missing"), nil), fs.ErrNotExist)
}
