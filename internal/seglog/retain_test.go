package seglog

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// filesSize is what the segments under a path take.
func filesSize(t *testing.T, path string) (size int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(path, "*", "*.seg"))
	require.NoError(t, err)
	for _, f := range files {
		info, err := os.Stat(f)
		require.NoError(t, err)
		size += info.Size()
	}
	return size
}

// TestRetentionSizeIsKept writes far more than may be kept, with the flags for
// segments at their defaults: at no time are there more bytes.
func TestRetentionSizeIsKept(t *testing.T) {
	storage := DefaultStorageConfig(t.TempDir())
	storage.RetentionSize = 1 << 20
	segments := DefaultSegmentConfig()
	o, err := storage.options(&segments)
	require.NoError(t, err)
	var log bytes.Buffer
	o.Sync, o.Logger = SyncNever, slog.New(slog.NewTextHandler(&log, nil))
	s := mustStore(t, storage.StoragePath, o)
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	for written := 0; written < 4*int(o.RetentionSize); {
		b := m.block(rnd, 2000)
		_, err := w.Append(b)
		require.NoError(t, err)
		require.NoError(t, m.ApplyBlock(b))
		written += len(w.buf)
		if size := filesSize(t, storage.StoragePath); size > o.RetentionSize {
			t.Fatalf("%d bytes are there, %d may be kept", size, o.RetentionSize)
		}
	}
	require.Greater(t, len(w.Log().Segments()), 1)
	require.NotContains(t, log.String(), "cannot be kept")
}

// TestMirrorSaysThatTheSizeIsNotKept takes over segments that are larger than a
// mirror may keep.
func TestMirrorSaysThatTheSizeIsNotKept(t *testing.T) {
	w, err := mustStore(t, t.TempDir(), testOptions(nil)).OpenWriter(newMemory())
	require.NoError(t, err)
	defer w.Close()
	m, rnd := newMemory(), newRand()
	feed(t, w, m, rnd, 50)
	var log bytes.Buffer
	o := testOptions(nil)
	o.RetentionSize, o.Logger = 1<<10, slog.New(slog.NewTextHandler(&log, nil))
	r, err := mustStore(t, t.TempDir(), o).OpenMirror(w.Log().ID(), newMemory())
	require.NoError(t, err)
	defer r.Close()
	raw, err := w.Log().ReadRaw(t.Context(), 0)
	require.NoError(t, err)
	defer raw.Close()
	for r.Log().Last() < w.Log().Last() {
		c, err := raw.Next(context.Background())
		require.NoError(t, err)
		if c.Start {
			require.NoError(t, r.StartSegment(c.SegmentName, c.FirstSequence))
		}
		require.NoError(t, r.Append(c.Offset, c.Data))
	}
	require.Equal(t, 1, strings.Count(log.String(), "cannot be kept"), log.String())
}

// A clock that was ahead for a while, by years, does not end the retention by time: what
// is written later says that it is of the future, too, and goes when its files are old.
func TestRetentionAfterAClockWasAhead(t *testing.T) {
	const retention = 24 * time.Hour
	c := &clock{time.Now()}
	o := testOptions(c)
	o.RetentionTime = retention
	s := mustStore(t, t.TempDir(), o)
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	c.t = c.t.Add(100 * 365 * 24 * time.Hour)
	feed(t, w, m, rnd, 1)
	require.NoError(t, w.Rotate())
	c.t = time.Now()
	for range 3 {
		feed(t, w, m, rnd, 1)
		require.NoError(t, w.Rotate())
	}
	segments := w.Log().Segments()
	require.Greater(t, len(segments), 3)
	for _, segment := range segments[1:] {
		require.True(t, segment.CreateTime.After(c.t), "of the future")
	}
	s.retain()
	require.Len(t, w.Log().Segments(), len(segments), "none is old yet")
	// The first was written while the clock was ahead, the second not at all lately.
	at := c.t.Add(100 * 365 * 24 * time.Hour)
	for i, segment := range segments[:2] {
		require.NoError(t, os.Chtimes(filepath.Join(w.Log().dir, segment.Name), time.Time{}, at))
		at = c.t.Add(-retention - time.Duration(i+1)*time.Hour)
	}
	s.retain()
	require.Len(t, w.Log().Segments(), len(segments)-2)
}
