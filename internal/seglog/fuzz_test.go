package seglog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzOpen puts any bytes in the place of a segment. Opening yields blocks that
// were written, or an error that names the file; what is damaged stays as it is.
func FuzzOpen(f *testing.F) {
	x := newFixture(f)
	for i, content := range x.content {
		f.Add(i == 1, content)
		f.Add(i == 1, content[:len(content)-5])
	}
	f.Add(true, []byte{})
	f.Add(true, otherVersion(x.content[1]))
	f.Fuzz(func(t *testing.T, newest bool, content []byte) {
		i := 0
		if newest {
			i = 1
		}
		x.reset(t, i, content)
		got, _, err := x.open(t)
		if err != nil {
			require.ErrorContains(t, err, x.files[i])
			require.Equal(t, content, readFile(t, x.files[i]))
			return
		}
		for _, b := range got {
			require.Equal(t, x.want[b.Sequence-1], b)
		}
	})
}

// FuzzMirror gives a mirror any bytes after those of a writer, as a peer may.
// They are refused, or break the mirror with an error; the file keeps what was
// taken, and opens again.
func FuzzMirror(f *testing.F) {
	x := newFixture(f)
	first, split := x.content[0], x.frames[0][2]
	f.Add(uint64(split), first[split:])
	f.Add(uint64(0), first)
	f.Add(uint64(split), first[split:len(first)-1])
	f.Add(uint64(split+1), first[split:])
	f.Add(uint64(1<<63), []byte{0})
	f.Fuzz(func(t *testing.T, offset uint64, data []byte) {
		dir := t.TempDir()
		s, err := openStore(dir, testOptions(newClock()), quickFS{})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		r, err := s.OpenMirror(x.id, newMemory())
		require.NoError(t, err)
		require.NoError(t, r.StartSegment(filepath.Base(x.files[0]), 1))
		require.NoError(t, r.Append(0, first[:split]))
		before, _, _ := r.Position()

		err = r.Append(offset, data)
		after, _, _ := r.Position()
		require.GreaterOrEqual(t, after, before)
		if err != nil {
			require.True(t, errors.Is(err, ErrMismatch) || errors.Is(err, ErrBroken), "%v", err)
		}
		require.NoError(t, r.Close())
		kept, err := os.ReadFile(r.act.seg.path)
		require.NoError(t, err)
		require.Equal(t, first[:split], kept[:split])
		m := newMemory()
		r, err = s.OpenMirror(x.id, m)
		require.NoError(t, err)
		again, _, _ := r.Position()
		require.Equal(t, after, again)
		require.NoError(t, r.Close())
	})
}
