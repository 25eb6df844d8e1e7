package seglog

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// countingFS counts the files that are open for reading.
type countingFS struct {
	osFS
	open atomic.Int64
}

type countedFile struct {
	file
	open *atomic.Int64
}

func (c *countedFile) Close() error {
	c.open.Add(-1)
	return c.file.Close()
}

func (x *countingFS) Open(name string) (file, error) {
	f, err := x.osFS.Open(name)
	if err != nil {
		return nil, err
	}
	x.open.Add(1)
	return &countedFile{f, &x.open}, nil
}

// A file is open once, however many read it, and not longer than they do: if each
// reader of older blocks had files of its own, a process could run out of them.
func TestReadersShareFiles(t *testing.T) {
	const readers = 50
	fs := &countingFS{}
	o := testOptions(newClock())
	o.RingBytes = 1
	store, err := openStore(t.TempDir(), o, fs)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	m, rnd := newMemory(), newRand()
	w, err := store.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	feed(t, w, m, rnd, 10)
	require.NoError(t, w.Rotate())
	feed(t, w, m, rnd, 10)
	before := fs.open.Load()

	var closers []interface{ Close() error }
	for range readers {
		for _, after := range []uint64{0, 10} {
			r, err := w.Log().ReadAfter(after)
			require.NoError(t, err)
			b, err := r.Next(noSteps)
			require.NoError(t, err)
			require.Equal(t, after+1, b.Sequence)
			raw, err := w.Log().ReadRaw(t.Context(), after)
			require.NoError(t, err)
			c, err := raw.Next(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, c.Data)
			closers = append(closers, r, raw)
		}
	}
	require.LessOrEqual(t, fs.open.Load()-before, int64(len(w.Log().Segments())))
	require.Greater(t, fs.open.Load(), before, "the readers read what is not in memory")

	last := closers[len(closers)-2].(*Reader)
	for _, c := range closers {
		if c != last {
			require.NoError(t, c.Close())
			require.NoError(t, c.Close(), "a second time takes it from nobody")
		}
	}
	b, err := last.Next(noSteps)
	require.NoError(t, err)
	require.Equal(t, uint64(12), b.Sequence, "those who left took the file from nobody")
	require.NoError(t, last.Close())
	require.Equal(t, before, fs.open.Load())
}
