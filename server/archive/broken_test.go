package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/buckettest"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// TestSizeThatWasWrong checks that what was read of an object while it was taken to be
// shorter than it is does not stay: the file of what is known may have been damaged.
func TestSizeThatWasWrong(t *testing.T) {
	object := make([]byte, blockSize)
	c := newCache(t.Context(), 4*blockSize, func(_ context.Context, k blockKey) ([]byte, error) {
		return object[k.index*blockSize:][:k.length], nil
	})
	a := &Archive{lifetime: t.Context(), reader: &reader{cache: c}}
	for _, size := range []int64{100, 200, blockSize} {
		s := &remoteSegment{archive: a, name: "a"}
		s.objects.Store(&[]span{{object: "a", size: size}})
		n, err := s.ReadAt(make([]byte, 50), size-50)
		require.NoError(t, err)
		require.Equal(t, 50, n)
	}
}

// odd is a bucket of which some objects answer in an odd way.
type odd struct {
	bucket.Bucket
	short, refused atomic.Pointer[string]
}

func (o *odd) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if p := o.refused.Load(); p != nil && strings.Contains(name, *p) {
		return nil, fmt.Errorf("%w: the object is kept in the cold", bucket.ErrRefused)
	}
	if p := o.short.Load(); p != nil && strings.Contains(name, *p) {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return o.Bucket.Open(ctx, name, offset, length)
}

// TestEmptyAnswerIsNoDamage checks that an answer without a body is not taken for the end
// of a segment.
func TestEmptyAnswerIsNoDamage(t *testing.T) {
	b, f := &odd{Bucket: newBucket(t)}, newForwarder(t)
	f.write(3)
	f.rotate()
	f.write(3)
	s := newServer(t, b, testConfig())
	s.feed(f)
	s.eventually(func() bool { return s.replicas.Get(f.id()).Archived() == f.last() && s.pending() == 0 }, "it comes")
	relay := newServer(t, b, Config{Interval: interval, Bytes: LeastBytes, ReadOnly: true})
	relay.eventually(func() bool {
		r := relay.replicas.Get(f.id())
		return r != nil && r.Log.Last() == f.last()
	}, "it is listed")
	all := "/"
	b.short.Store(&all)
	_, _, err := relay.replicas.Get(f.id()).Log.Checksum(t.Context(), 1)
	require.ErrorIs(t, err, seglog.ErrRemote)
	b.short.Store(nil)
	requireBlocks(t, relay.replicas.Get(f.id()).Log, f)
}

// TestObjectThatIsRefused checks that an object that cannot be read, as those are that a
// provider moves to where reading takes hours, keeps nothing else from coming and going,
// and that the bucket is not taken for being away.
func TestObjectThatIsRefused(t *testing.T) {
	b, old, f := &odd{Bucket: newBucket(t)}, newForwarder(t), newForwarder(t)
	old.write(3)
	old.rotate()
	old.write(3)
	old.rotate()
	one := newServer(t, b, testConfig())
	one.feed(old)
	first := layout.Object{Log: old.id(), Segment: old.writer.Log().Segments()[0].Name}.Name()
	one.eventually(func() bool { return objects(t, b)[first] > 0 && one.pending() == 0 }, "it comes")
	one.stop()
	b.refused.Store(&first)

	s := newServer(t, b, testConfig())
	f.write(3)
	s.feed(f)
	s.eventually(func() bool { return has(t, b, f) }, "others are uploaded")
	s.eventually(func() bool { return s.replicas.Get(old.id()) != nil }, "what can be read is")
	require.Equal(t, uint64(4), s.replicas.Get(old.id()).Log.First())
	require.Empty(t, s.Status().GetError())
	require.Equal(t, 1, strings.Count(s.logs.String(), "cannot be read\" bucket"), "it is said once: %s", s.logs)
	require.NotZero(t, s.Asked(old.id()))

	b.refused.Store(nil)
	s.eventually(func() bool { return s.replicas.Get(old.id()).Log.First() == 1 }, "and later it is read")
}

// TestEndThatIsRefused checks that a log of which the newest segment cannot be read counts
// as not asked for: nobody knows where it ends.
func TestEndThatIsRefused(t *testing.T) {
	b, f := &odd{Bucket: newBucket(t)}, newForwarder(t)
	f.write(3)
	f.rotate()
	one := newServer(t, b, testConfig())
	one.feed(f)
	one.eventually(func() bool { return has(t, b, f) && one.pending() == 0 }, "it comes")
	one.stop()
	segments := f.writer.Log().Segments()
	newest := layout.Object{Log: f.id(), Segment: segments[0].Name}.Name()
	b.refused.Store(&newest)
	s := newServer(t, b, testConfig())
	<-s.Filled()
	require.NoError(t, s.catalogue.refreshLog(t.Context(), f.id()))
	require.Zero(t, s.Asked(f.id()))
	require.NotZero(t, s.Asked(newForwarder(t).id()))
	b.refused.Store(nil)
	require.NoError(t, s.catalogue.refreshLog(t.Context(), f.id()))
	require.NotZero(t, s.Asked(f.id()))
}

// TestWritingFails checks that what is in the bucket is read while nothing can be written to
// it, however long that has been so: it may be full.
func TestWritingFails(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	f.write(3)
	one := newServer(t, b, testConfig())
	one.feed(f)
	one.eventually(func() bool { return has(t, b, f) && one.pending() == 0 }, "it comes")
	relay := newServer(t, b, Config{Interval: interval, Bytes: LeastBytes, ReadOnly: true})
	relay.eventually(func() bool {
		r := relay.replicas.Get(f.id())
		return r != nil && r.Log.Last() == f.last()
	}, "it is listed")
	for range 100 {
		relay.health.did(errors.New("no space left"))
	}
	relay.health.mu.Lock()
	relay.health.retry = time.Now().Add(time.Hour)
	relay.health.mu.Unlock()
	requireBlocks(t, relay.replicas.Get(f.id()).Log, f)
	require.Empty(t, relay.Status().GetError())
}

// TestDamagedPiece checks that of a chain of pieces what comes before a damaged one is read,
// and that the rest is not read again and again.
func TestDamagedPiece(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bucket")
	b, err := bucket.Open(t.Context(), path, bucket.Options{})
	require.NoError(t, err)
	f := newForwarder(t)
	one := newServer(t, b, testConfig())
	var ends []uint64
	for range 4 {
		f.write(3)
		ends = append(ends, f.last())
		one.feed(f)
		one.eventually(func() bool { return has(t, b, f) && one.pending() == 0 }, "it comes")
	}
	one.stop()
	var pieces []string
	for object, err := range b.List(t.Context(), f.id().String()) {
		require.NoError(t, err)
		pieces = append(pieces, object.Name)
	}
	require.Len(t, pieces, len(ends))
	for what, damage := range map[string]func(data []byte) []byte{
		"a byte":      func(data []byte) []byte { data[3] ^= 1; return data },
		"cut":         func(data []byte) []byte { return data[:len(data)-10] },
		"another end": func(data []byte) []byte { return append(data, 0) },
	} {
		t.Run(what, func(t *testing.T) {
			file := filepath.Join(path, pieces[2])
			good, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, damage(bytes.Clone(good)), 0o600))
			counted := buckettest.New(b)
			relay := newServer(t, counted, Config{Interval: interval, Bytes: LeastBytes, ReadOnly: true})
			relay.eventually(func() bool {
				r := relay.replicas.Get(f.id())
				return r != nil && r.Log.Last() == ends[1]
			}, "what comes before is read")
			for seq := uint64(1); seq <= ends[1]; seq++ {
				_, ok, err := relay.replicas.Get(f.id()).Log.Checksum(t.Context(), seq)
				require.NoError(t, err)
				require.True(t, ok)
			}
			for range 3 {
				_, err := relay.catalogue.refresh(t.Context())
				require.NoError(t, err)
			}
			require.Equal(t, 1, strings.Count(relay.logs.String(), "level=ERROR"), "%s", relay.logs)
			relay.stop()
			require.NoError(t, os.WriteFile(file, good, 0o600))
		})
	}
}

// TestRetentionByOthersClocks checks that the time of what others put into the bucket, or of
// an object that is of the future, makes nothing older than it is.
func TestRetentionByOthersClocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bucket")
	b, err := bucket.Open(t.Context(), path, bucket.Options{})
	require.NoError(t, err)
	future := time.Now().AddDate(1, 0, 0)
	require.NoError(t, b.Create(t.Context(), "notes.txt", strings.NewReader("x"), 1))
	require.NoError(t, os.Chtimes(filepath.Join(path, "notes.txt"), future, future))
	f := newForwarder(t)
	c := testConfig()
	c.RetentionTime = time.Hour
	s := newServer(t, b, c)
	for range 3 {
		f.write(3)
		f.rotate()
	}
	f.write(1)
	s.feed(f)
	s.eventually(func() bool { return has(t, b, f) }, "it comes")
	newest := layout.Object{Log: f.id(), Segment: f.writer.Log().Segments()[2].Name}.Name()
	require.NoError(t, os.Chtimes(filepath.Join(path, newest), future, future))
	before := s.leaseNumber()
	s.eventually(func() bool { return s.leaseNumber() > before+1 }, "retention was applied")
	require.True(t, has(t, b, f), "%s", s.logs)
}

func (a *Archive) leaseNumber() uint64 {
	a.leaseMu.Lock()
	defer a.leaseMu.Unlock()
	return a.floorsOf
}

// TestLeftovers checks which pieces beside a sealed segment are deleted: none that have more
// than that has.
func TestLeftovers(t *testing.T) {
	for size, want := range map[int64]int{149: 0, 150: 2, 200: 2} {
		a := &Archive{}
		c := newCatalogue(a)
		e := newEntry("20260102T030405.000Z-00000000000000000007.seg")
		e.sealed, e.info.Size, e.leftover = true, size, 2
		e.pieces = []layout.Piece{{Offset: 0, Size: 100}, {Offset: 100, Size: 50}}
		c.logs[segment.LogID{1}] = map[string]*entry{e.info.Name: e}
		require.Len(t, c.leftovers(), want, "%d bytes", size)
	}
}
