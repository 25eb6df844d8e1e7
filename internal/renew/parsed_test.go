package renew

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What was read is read again when a file of it has changed, comes, goes or is another
// one, and not otherwise.
func TestParsed(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	old := time.Now().Add(-time.Hour)
	write := func(file, s string, at time.Time) {
		require.NoError(t, os.WriteFile(file, []byte(s), 0o600))
		require.NoError(t, os.Chtimes(file, at, at))
	}
	reads := 0
	read := func(uses func(string)) (string, error) {
		reads++
		all := ""
		for _, file := range []string{one, two} {
			uses(file)
			b, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			all += string(b)
		}
		return all, nil
	}
	write(one, "a", old)
	write(two, "b", old)
	v, err := New("files", (&parsed[string]{read: read, retry: time.Hour}).get, nil)
	require.NoError(t, err)
	steps := []struct {
		what   string
		change func()
		want   string
		fails  bool
	}{
		{"nothing", func() {}, "ab", false},
		{"a time", func() { write(two, "c", old.Add(time.Second)) }, "ac", false},
		{"a size", func() { write(one, "dd", old) }, "ddc", false},
		{"a file is replaced", func() {
			write(one+".new", "ee", old)
			require.NoError(t, os.Rename(one+".new", one))
		}, "eec", false},
		{"a file goes", func() { require.NoError(t, os.Remove(two)) }, "eec", true},
		{"a file comes", func() { write(two, "f", old) }, "eef", false},
		{"one that was read first goes", func() { require.NoError(t, os.Remove(one)) }, "eef", true},
		{"and comes", func() { write(one, "g", old) }, "gf", false},
		{"a time of a clock that is ahead", func() { write(one, "g", time.Now().Add(time.Hour)) }, "gf", false},
	}
	for i, step := range steps {
		step.change()
		require.Equal(t, step.want, v.Get(), step.what)
		require.Equal(t, step.want, v.Get(), step.what)
		require.Equal(t, step.fails, v.Reload() != nil, step.what)
		require.Equal(t, i+1, reads, "%s: once a change", step.what)
	}
	// A file that has just changed may change again at the same time and size.
	now := time.Now()
	write(one, "h", now)
	require.Equal(t, "hf", v.Get())
	write(one, "i", now)
	require.Equal(t, "if", v.Get())
}

// What could not be read for a reason that no file shows is read again.
func TestParsedTriesAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	said, fault := "a", error(nil)
	v, err := NewParsed("file", func(uses func(string)) (string, error) { uses(file); return said, fault }, nil)
	require.NoError(t, err)
	old := time.Now().Add(-time.Hour)
	said, fault = "b", errors.New("too many open files")
	require.NoError(t, os.Chtimes(file, old, old))
	require.Error(t, v.Reload())
	require.Equal(t, "a", v.Get())
	fault = nil
	require.Eventually(t, func() bool { return v.Get() == "b" }, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, v.Reload())
}
