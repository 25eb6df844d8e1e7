package seglog

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEndedLogIsCompleted has a log that has ended take over what a mirror has of
// it, from each of its frames on: the files are the same then, and the store still
// continues the latest log.
func TestEndedLogIsCompleted(t *testing.T) {
	for _, cut := range []int64{1, 500, 1500, 4000, 1 << 20} {
		p := newPair(t)
		p.feed(10)
		require.NoError(t, p.w.Rotate())
		p.feed(10)
		require.Empty(t, ship(t, p.w.Log(), p.r))
		require.NoError(t, p.w.Close())
		id, log := p.w.Log().ID(), filepath.Dir(segmentFiles(t, p.wdir)[0])
		newest := segmentFiles(t, log)[1]
		info, err := os.Stat(newest)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(newest, max(info.Size()-cut, 0)))

		w, err := p.ws.OpenWriter(newMemory())
		require.NoError(t, err)
		require.Error(t, w.Renewed())
		ended, err := p.ws.OpenEnded(id)
		require.NoError(t, err)
		require.Less(t, ended.Log().Last(), p.r.Log().Last())
		require.Empty(t, ship(t, p.r.Log(), ended))
		require.NoError(t, ended.Close())
		require.NoError(t, w.Close())
		for i, name := range segmentFiles(t, p.rdir) {
			require.Equal(t, readFile(t, name), readFile(t, segmentFiles(t, log)[i]))
		}
		again, err := p.ws.OpenWriter(newMemory())
		require.NoError(t, err)
		require.NoError(t, again.Renewed())
		require.Equal(t, w.Log().ID(), again.Log().ID())
		require.NoError(t, again.Close())
	}
}

// TestEndedLogIsDeleted has retention take all of a log that has ended, but for
// what is not ours, and of the present one what it takes of any.
func TestEndedLogIsDeleted(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	o := testOptions(c)
	o.RetentionTime = 90 * time.Minute
	s := mustStore(t, dir, o)
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	feed(t, w, m, rnd, 5)
	require.NoError(t, w.Rotate())
	feed(t, w, m, rnd, 5)
	require.NoError(t, w.Close())
	old := w.Log().ID()
	w, err = s.CreateWriter(m)
	require.NoError(t, err)
	defer w.Close()
	ended, err := s.OpenEnded(old)
	require.NoError(t, err)
	defer ended.Close()
	notes := filepath.Join(dir, old.String(), "notes.txt")
	require.NoError(t, os.WriteFile(notes, nil, 0o644))

	c.t = c.t.Add(o.RetentionTime + 5*time.Millisecond)
	s.retain()
	require.Len(t, ended.Log().Segments(), 1)
	c.t = c.t.Add(s.o.SegmentDuration)
	s.retain()
	require.Empty(t, ended.Log().Segments())
	entries, err := os.ReadDir(filepath.Dir(notes))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Len(t, w.Log().Segments(), 1)
}
