package seglog

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// writesFS counts the writes to files.
type writesFS struct {
	quickFS
	writes *int
}

type writesFile struct {
	file
	writes *int
}

func (f writesFile) WriteAt(b []byte, at int64) (int, error) {
	*f.writes++
	return f.file.WriteAt(b, at)
}

func (x writesFS) Create(name string) (file, error) {
	f, err := x.quickFS.Create(name)
	return writesFile{f, x.writes}, err
}

// Blocks that share a sync share a write, unless they are many.
func TestBlocksOfASyncAreWrittenTogether(t *testing.T) {
	writes := 0
	s, err := openStore(t.TempDir(), testOptions(newClock()), writesFS{writes: &writes})
	require.NoError(t, err)
	w, err := s.OpenWriter(newMemory())
	require.NoError(t, err)
	appendText := func(text string) {
		t.Helper()
		_, err := w.Append(&segment.Block{Verdict: segment.Verdict{Code: 1, Errors: []string{text}}})
		require.NoError(t, err)
	}

	writes = 0
	for range 100 {
		appendText("short")
	}
	require.Zero(t, writes)
	require.NoError(t, w.WaitDurable(100))
	require.Equal(t, 2, writes, "the blocks, and the end mark")

	writes = 0
	written := w.act.tail.size
	for writes == 0 && len(w.group.frames) < 2*maxGroup {
		appendText(string(make([]byte, 1000)))
	}
	require.Equal(t, 1, writes)
	require.Empty(t, w.group.frames)
	require.GreaterOrEqual(t, w.act.tail.size-written, int64(maxGroup))
	require.Equal(t, uint64(100), w.Log().Last())
	require.NoError(t, w.WaitDurable(w.encoder.Sequence()))
	require.Equal(t, 2, writes, "and the end mark")

	appendText("before the footer")
	require.NoError(t, w.Rotate())
	last := w.Log().Last()
	require.NoError(t, w.Close())
	w, err = s.OpenWriter(newMemory())
	require.NoError(t, err)
	require.Equal(t, last, w.Log().Last())
	require.NoError(t, w.Close())
	require.NoError(t, s.Close())
}
