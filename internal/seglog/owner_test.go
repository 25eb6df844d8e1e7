package seglog

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// A log's owner is there after a restart, and goes with the log.
func TestOwner(t *testing.T) {
	p := newPair(t)
	id := p.w.Log().ID()
	names := []string{"spiffe://a/b", "strange\n\"name\"\xff", "10.0.0.1"}
	require.Error(t, p.rs.SetOwner(id, names), "it has no folder")
	p.feed(3)
	ship(t, p.w.Log(), p.r)
	owner, err := p.rs.Owner(id)
	require.NoError(t, err)
	require.Empty(t, owner)
	require.NoError(t, p.rs.SetOwner(id, names))
	p.reopenMirror()
	owner, err = p.rs.Owner(id)
	require.NoError(t, err)
	require.Equal(t, names, owner)
	require.NoError(t, p.rs.SetOwner(id, names[:1]))
	owner, err = p.rs.Owner(id)
	require.NoError(t, err)
	require.Equal(t, names[:1], owner)

	path := filepath.Join(p.rdir, ownerName)
	for _, bad := range []string{"", "\n", "spiffe://a/b", "\"a\"\n\"b"} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
		_, err = p.rs.Owner(id)
		require.ErrorContains(t, err, id.String(), "a file that names nobody lets nobody in")
	}
	require.NoError(t, p.r.Close())
	p.rs.Remove(id)
	require.NoDirExists(t, p.rdir)
	require.NoFileExists(t, filepath.Join(filepath.Dir(p.rdir), latestName))
}

func FuzzOwner(f *testing.F) {
	f.Add("\"spiffe://a/b\"\n\"c\"\n")
	f.Add("\"\\xff\"")
	f.Add("`raw`\n'c'")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := parseOwner(text)
		if err != nil {
			return
		}
		again, err := parseOwner(string(formatOwner(names)))
		require.NoError(t, err)
		require.True(t, slices.Equal(names, again), "%q, then %q", names, again)
	})
}

// A new log has no folder until a segment of it starts.
func TestMirrorHasNoFolderAtFirst(t *testing.T) {
	dir := t.TempDir()
	s := mustStore(t, dir, testOptions(newClock()))
	m, err := s.OpenMirror(segment.NewLogID(), newMemory())
	require.NoError(t, err)
	require.Empty(t, s.Logs())
	require.NoError(t, m.StartSegment(fileName(1, 1), 1))
	require.Len(t, s.Logs(), 1)
	require.NoError(t, m.Close())
	s.Remove(m.Log().ID())
	require.Empty(t, s.Logs())
}

// The store's link points at a log that is there when another is removed.
func TestRemoveKeepsALink(t *testing.T) {
	p, other := newPair(t), newPair(t)
	p.feed(1)
	ship(t, p.w.Log(), p.r)
	m, err := p.rs.OpenMirror(other.w.Log().ID(), newMemory())
	require.NoError(t, err)
	other.feed(1)
	ship(t, other.w.Log(), m)
	require.NoError(t, m.Close())
	link := filepath.Join(filepath.Dir(p.rdir), latestName)
	target, err := os.Readlink(link)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(m.Log().ID().String(), latestName), target)
	p.rs.Remove(m.Log().ID())
	target, err = os.Readlink(link)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(p.w.Log().ID().String(), latestName), target)
	require.NoDirExists(t, filepath.Join(filepath.Dir(p.rdir), m.Log().ID().String()))
}
