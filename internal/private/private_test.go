package private

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// shared is a folder as /tmp is.
func shared(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "shared")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Chmod(dir, 0o777|os.ModeSticky))
	return dir
}

// stranger makes what is there another user's.
func stranger(t *testing.T, names ...string) {
	known := ownerOf
	t.Cleanup(func() { ownerOf = known })
	ownerOf = func(info fs.FileInfo) int {
		if slices.Contains(names, info.Name()) {
			return os.Geteuid() + 1
		}
		return known(info)
	}
}

func mode(t *testing.T, name string) os.FileMode {
	info, err := os.Lstat(name)
	require.NoError(t, err)
	return info.Mode()
}

func TestNobodyElseReads(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, MkdirAll(dir))
	require.Equal(t, os.ModeDir|0o700, mode(t, dir))
	require.Equal(t, os.ModeDir|0o700, mode(t, filepath.Dir(dir)))
	for i, create := range []func(string) (*os.File, error){Create, OpenOrCreate} {
		name := filepath.Join(dir, "file")
		f, err := create(name)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Equal(t, os.FileMode(0o600), mode(t, name), i)
		require.NoError(t, os.Remove(name))
	}
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, MkdirAll(dir))
	require.Equal(t, os.ModeDir|0o755, mode(t, dir), "what was there stays")
}

// Whatever is planted under the name of a file: the victim's file stays as it is.
func TestPlantedFiles(t *testing.T) {
	for name, plant := range map[string]func(t *testing.T, victim, at string){
		"link":      func(t *testing.T, victim, at string) { require.NoError(t, os.Symlink(victim, at)) },
		"loose end": func(t *testing.T, victim, at string) { require.NoError(t, os.Symlink(victim+"-no", at)) },
		"hard link": func(t *testing.T, victim, at string) { require.NoError(t, os.Link(victim, at)) },
		"pipe":      func(t *testing.T, _, at string) { require.NoError(t, unix.Mkfifo(at, 0o666)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := shared(t)
			victim, at := filepath.Join(t.TempDir(), "victim"), filepath.Join(dir, "file")
			require.NoError(t, os.WriteFile(victim, []byte("mine"), 0o600))
			plant(t, victim, at)
			_, err := Open(at, os.O_RDWR)
			require.ErrorIs(t, err, ErrPlanted)
			require.ErrorContains(t, err, at)
			_, err = OpenOrCreate(at)
			require.ErrorIs(t, err, ErrPlanted)
			f, err := Create(at)
			require.NoError(t, err)
			_, err = f.WriteString("new")
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.True(t, mode(t, at).IsRegular())
			content, err := os.ReadFile(victim)
			require.NoError(t, err)
			require.Equal(t, "mine", string(content))
			require.NoFileExists(t, victim+"-no")
		})
	}
}

// Where anybody may write, what is a stranger's is not opened, nor followed.
func TestStrangers(t *testing.T) {
	dir := shared(t)
	file, folder, link := filepath.Join(dir, "file"), filepath.Join(dir, "folder"), filepath.Join(dir, "link")
	home := t.TempDir()
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	require.NoError(t, os.Mkdir(folder, 0o700))
	require.NoError(t, os.Chmod(folder, 0o777))
	require.NoError(t, os.Symlink(home, link))
	require.NoError(t, os.Symlink(link, filepath.Join(home, "in two steps")))
	paths := []string{folder, filepath.Join(folder, "a", "b"), link, filepath.Join(link, "a"), filepath.Join(home, "in two steps", "b")}
	for _, path := range paths {
		require.NoError(t, MkdirAll(path), "what is ours")
	}
	f, err := Open(file, os.O_RDONLY)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	target, err := Readlink(link)
	require.NoError(t, err)
	require.Equal(t, home, target)

	stranger(t, "file", "folder", "link")
	for _, path := range paths {
		require.ErrorIs(t, MkdirAll(path), ErrPlanted, path)
	}
	_, err = Open(file, os.O_RDONLY)
	require.ErrorIs(t, err, ErrPlanted)
	_, err = OpenOrCreate(file)
	require.ErrorIs(t, err, ErrPlanted)
	_, err = Readlink(link)
	require.ErrorIs(t, err, ErrPlanted)
	require.NoError(t, os.Chmod(dir, 0o755))
	f, err = Open(file, os.O_RDONLY)
	require.NoError(t, err, "who put it there was let in by the folder's owner")
	require.NoError(t, f.Close())
}

func TestLoops(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	require.ErrorIs(t, Check(filepath.Join(dir, "loop", "a")), syscall.ELOOP)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	require.NoError(t, os.Symlink("d/../d", filepath.Join(dir, "round")))
	require.NoError(t, MkdirAll(filepath.Join(dir, "round", "e")))
	require.DirExists(t, filepath.Join(dir, "d", "e"))
}

func TestExposed(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]string{0o700: "", 0o755: "", 0o777: "anybody", 0o1777: "anybody", 0o770: ""} {
		require.NoError(t, os.Chmod(dir, mode))
		who, err := Exposed(dir)
		require.NoError(t, err)
		require.Equal(t, want, who, mode.String())
	}
}
