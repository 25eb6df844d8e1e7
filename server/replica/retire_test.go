package replica

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// writeLog writes a log of a block into a storage folder, as if by a forwarder.
func writeLog(t *testing.T, dir string, at time.Time) segment.LogID {
	t.Helper()
	o := seglog.DefaultOptions()
	o.RetentionTime, o.Now = 0, func() time.Time { return at }
	store, err := seglog.OpenStore(dir, o)
	require.NoError(t, err)
	state := head.New()
	w, err := store.CreateWriter(state)
	require.NoError(t, err)
	b := &segment.Block{Time: at.UnixMilli(), Series: segment.TableOf(segment.Series{Ref: 1, Labels: segment.Labels{{Name: "a", Value: "b"}}})}
	b.Samples.Add(segment.Sample{Ref: 1, Timestamp: 1, Value: 2})
	sequence, err := w.Append(b)
	require.NoError(t, err)
	require.NoError(t, w.WaitDurable(sequence))
	require.NoError(t, w.Close())
	require.NoError(t, store.Close())
	return w.Log().ID()
}

// Where only the size is bounded, dead logs go, the oldest first, for as long as the size
// is not kept, and never one that is fed.
func TestRetirementBySize(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	fed, old, young := writeLog(t, dir, now.Add(-3*time.Hour)), writeLog(t, dir, now.Add(-2*time.Hour)), writeLog(t, dir, now.Add(-time.Hour))
	store, err := seglog.OpenStore(dir, seglog.Options{RetentionSize: 1})
	require.NoError(t, err)
	defer store.Close()
	rs, err := Open(store, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer rs.Close()
	_, err = rs.Lease(t.Context(), fed, Source{Feeder: &feeder{}})
	require.NoError(t, err)
	retire := func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		rs.retireDead(false)
	}
	retire()
	require.Len(t, rs.All(), 3, "they are not dead yet")
	for _, r := range rs.All() {
		r.lease.left = now.Add(-2 * deadAfter)
	}
	for _, left := range [][]segment.LogID{{fed, young}, {fed}, {fed}} {
		retire()
		var ids []segment.LogID
		for _, r := range rs.All() {
			ids = append(ids, r.ID)
		}
		require.ElementsMatch(t, left, ids)
		require.ElementsMatch(t, left, store.Logs())
	}
	require.Len(t, rs.Retired(), 2)
	require.EqualValues(t, 1, rs.Retired()[old].Last)
}

// What the clock of a forwarder wrote that was ahead is as old as the file that has it:
// such logs do not keep their places for good.
func TestRetirementOfTheFuture(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	const retention = 24 * time.Hour
	old, young := writeLog(t, dir, now.Add(100*365*24*time.Hour)), writeLog(t, dir, now.Add(100*365*24*time.Hour))
	segments, err := filepath.Glob(filepath.Join(dir, old.String(), "*.seg"))
	require.NoError(t, err)
	require.Len(t, segments, 1)
	require.NoError(t, os.Chtimes(segments[0], time.Time{}, now.Add(-retention-time.Hour)))
	store, err := seglog.OpenStore(dir, seglog.Options{RetentionTime: retention})
	require.NoError(t, err)
	defer store.Close()
	rs, err := Open(store, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer rs.Close()
	for _, r := range rs.All() {
		r.lease.left = now.Add(-2 * deadAfter)
	}
	rs.mu.Lock()
	rs.retireDead(false)
	rs.mu.Unlock()
	require.Len(t, rs.All(), 1)
	require.Equal(t, young, rs.All()[0].ID)
}

// nowhere is a bucket that is not read.
type nowhere struct{}

func (nowhere) OpenSegment(segment.LogID, string) (seglog.RemoteSegment, error) {
	return nil, seglog.ErrRemote
}

// archive says of a log that all of it is in the bucket.
func archive(r *Replica) {
	var infos []seglog.RemoteInfo
	for _, s := range r.Log.Segments() {
		_, sum, _ := r.Position()
		infos = append(infos, seglog.RemoteInfo{
			Name: s.Name, FirstSequence: s.FirstSequence, LastSequence: s.LastSequence, CreateTime: s.CreateTime, Size: s.Size, Checksum: sum, MinTime: s.MinTime, MaxTime: s.MaxTime,
		})
	}
	r.Log.SetRemote(infos)
}

// Where all places are taken, the oldest dead log that is in the bucket gives its own to one
// that comes. What is not in it stays, however old, and the one that comes is refused.
func TestRetirementForAPlace(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	var ids []segment.LogID // the oldest first
	for i := range cursor.MaxLogs {
		ids = append(ids, writeLog(t, dir, now.Add(time.Duration(i-100)*time.Hour)))
	}
	store, err := seglog.OpenStore(dir, seglog.Options{Remote: nowhere{}})
	require.NoError(t, err)
	defer store.Close()
	rs, err := Open(store, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer rs.Close()
	come := func(id segment.LogID) error {
		f, err := rs.Lease(t.Context(), id, Source{Feeder: &feeder{}})
		if err == nil {
			f.Release()
		}
		return err
	}
	archive(rs.Get(ids[2]))
	archive(rs.Get(ids[3]))
	var refused *RefusedError
	require.ErrorAs(t, come(segment.LogID{1}), &refused, "none is dead")
	for _, r := range rs.All() {
		r.lease.left = now.Add(-2 * deadAfter)
	}
	fed, err := rs.Lease(t.Context(), ids[2], Source{Feeder: &feeder{}})
	require.NoError(t, err)
	defer fed.Release()
	require.NoError(t, come(segment.LogID{1}))
	require.Len(t, rs.All(), cursor.MaxLogs-1)
	require.Nil(t, rs.Get(ids[3]))
	require.NotNil(t, rs.Get(ids[0]), "it is not in the bucket")
	require.Contains(t, rs.Retired(), ids[3])
}
