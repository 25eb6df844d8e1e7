package seglog

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/private"
	"github.com/promgrpc/exporter/internal/segment"
)

// victim is a file that a planted link leads to. Nothing may happen to it.
func victim(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(name, []byte("mine"), 0o600))
	t.Cleanup(func() {
		entries, err := os.ReadDir(filepath.Dir(name))
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.Equal(t, "mine", string(readFile(t, name)))
	})
	return name
}

// plant puts a link to a victim where a file is or will be.
func plant(t *testing.T, at string) {
	_ = os.Remove(at)
	require.NoError(t, os.Symlink(victim(t), at))
}

func requireFile(t *testing.T, name string) {
	t.Helper()
	info, err := os.Lstat(name)
	require.NoError(t, err)
	require.True(t, info.Mode().IsRegular(), name)
}

// Nobody else reads what is stored.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, c := mustStore(t, dir, testOptions(newClock())), newMemory()
	w, err := s.OpenWriter(c)
	require.NoError(t, err)
	feed(t, w, c, newRand(), 3)
	require.NoError(t, w.Rotate())
	require.NoError(t, w.Close())
	r, err := s.OpenMirror(segment.NewLogID(), newMemory())
	require.NoError(t, err)
	require.NoError(t, r.Close())
	files := 0
	require.NoError(t, filepath.WalkDir(filepath.Dir(dir), func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := e.Info()
		require.NoError(t, err)
		switch {
		case e.IsDir():
			require.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), path)
		case info.Mode().IsRegular():
			files++
			require.Equal(t, fs.FileMode(0o600), info.Mode(), path)
		}
		return nil
	}))
	require.GreaterOrEqual(t, files, 4, "lock, end and two segments")
}

// What is opened again is no link, or the store says so.
func TestPlantedWhereAFileIs(t *testing.T) {
	for _, name := range []string{lockName, endName, "segment", "log"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, m := mustStore(t, dir, testOptions(nil)), newMemory()
			w, err := s.OpenWriter(m)
			require.NoError(t, err)
			feed(t, w, m, newRand(), 3)
			id, log := w.Log().ID(), filepath.Join(dir, w.Log().ID().String())
			require.NoError(t, w.Close())
			require.NoError(t, s.Close())

			at := map[string]string{
				lockName: filepath.Join(dir, lockName), endName: filepath.Join(log, endName),
				"segment": segmentFiles(t, log)[0], "log": log,
			}[name]
			if name == "log" {
				elsewhere := t.TempDir()
				require.NoError(t, os.Rename(log, filepath.Join(elsewhere, "log")))
				require.NoError(t, os.Symlink(filepath.Join(elsewhere, "log"), log))
			} else {
				plant(t, at)
			}
			s, err = OpenStore(dir, testOptions(nil))
			if name == lockName {
				require.ErrorIs(t, err, private.ErrPlanted)
				return
			}
			require.NoError(t, err)
			defer s.Close()
			if name == endName {
				_, err = s.OpenWriter(newMemory())
			} else {
				_, err = s.OpenMirror(id, newMemory())
			}
			require.ErrorIs(t, err, private.ErrPlanted)
			require.ErrorContains(t, err, at)
		})
	}
}

// strangers is a file system where the folders of logs belong to another user.
type strangers struct{ osFS }

// Readlink implements [filesystem], as [private.Readlink] of such a folder does.
func (f strangers) Readlink(name string) (string, error) {
	if _, err := segment.ParseLogID(filepath.Base(name)); err == nil {
		return "", fmt.Errorf("%s: %w", name, private.ErrPlanted)
	}
	return f.osFS.Readlink(name)
}

// A log in a stranger's folder is the stranger's, whoever the folder with the logs
// belongs to.
func TestPlantedLog(t *testing.T) {
	dir := t.TempDir()
	s, m := mustStore(t, dir, testOptions(nil)), newMemory()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	feed(t, w, m, newRand(), 3)
	require.NoError(t, w.Close())
	require.NoError(t, s.Close())
	s, err = openStore(dir, testOptions(nil), strangers{})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.OpenMirror(w.Log().ID(), newMemory())
	require.ErrorIs(t, err, private.ErrPlanted)
	_, err = s.OpenWriter(newMemory())
	require.ErrorIs(t, err, private.ErrPlanted)
}

// What is created takes the place of a link.
func TestPlantedWhereAFileWillBe(t *testing.T) {
	p := newPair(t)
	p.feed(3)
	ship(t, p.w.Log(), p.r)
	p.c.t = p.c.t.Add(time.Hour)
	next := filepath.Join(p.wdir, fileName(p.c.t.UnixMilli(), p.w.Log().Last()+1))
	mirrored := filepath.Join(p.rdir, filepath.Base(next))
	for _, at := range []string{
		next, next + tempExt, filepath.Join(p.wdir, latestName+tempExt), filepath.Join(filepath.Dir(p.wdir), latestName+tempExt),
		filepath.Join(p.wdir, latestName), filepath.Join(filepath.Dir(p.wdir), latestName),
		mirrored, filepath.Join(p.rdir, latestName+tempExt), filepath.Join(p.rdir, latestName),
	} {
		plant(t, at)
	}
	require.NoError(t, p.w.Rotate())
	p.feed(3)
	ship(t, p.w.Log(), p.r)
	requireFile(t, next)
	requireFile(t, mirrored)
	p.equal()
	p.reopenMirror()
	p.equal()
}

// A folder that others may write into is used as before, and told of.
func TestExposedFolder(t *testing.T) {
	var text bytes.Buffer
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	o := testOptions(nil)
	o.Logger = slog.New(slog.NewTextHandler(&text, nil))
	s := mustStore(t, dir, o)
	w, err := s.OpenWriter(newMemory())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Contains(t, text.String(), `msg="storage folder is not for this program alone"`)
	require.Contains(t, text.String(), "writable_by=anybody")
}
