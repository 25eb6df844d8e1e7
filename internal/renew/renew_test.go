package renew

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValue(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(s string) { require.NoError(t, os.WriteFile(file, []byte(s), 0o600)) }
	read := func() (string, error) { return Token(file) }
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	_, err := New("token", read, logger)
	require.ErrorIs(t, err, os.ErrNotExist, "there is nothing before")

	write("one\n")
	v, err := New("token", read, logger)
	require.NoError(t, err)
	require.Equal(t, "one", v.Get())
	write(" two ")
	require.Equal(t, "two", v.Get())

	for _, broken := range []func(){
		func() { write("\n") },
		func() { write("two\nthree") },
		func() { require.NoError(t, os.Remove(file)) },
		func() { require.NoError(t, os.Mkdir(file, 0o700)) },
	} {
		broken()
		require.Equal(t, "two", v.Get(), "what was before stays")
		require.Error(t, v.Reload())
	}
	require.Equal(t, 1, strings.Count(log.String(), "cannot be reloaded"), "one line a change of state")
	require.NoError(t, os.Remove(file))
	write("three")
	require.NoError(t, v.Reload())
	require.Equal(t, 1, strings.Count(log.String(), "can be reloaded again"))
	require.Equal(t, "three", v.Get())
}

func TestValueConcurrently(t *testing.T) {
	n := 0 // guarded by the value
	v, err := New("number", func() (int, error) { n++; return n, nil }, nil)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for before := 0; before < 100; {
				now := v.Get()
				if now <= before {
					t.Errorf("%d came after %d", now, before)
				}
				before = now
			}
		})
	}
	wg.Wait()
}

func TestWhatIsNotPEM(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	_, err := authorities(file)
	require.ErrorContains(t, err, "no certificate in "+file)
	_, err = Certificate(file, file)
	require.ErrorContains(t, err, file)
	_, err = authorities(file + "y")
	require.ErrorIs(t, err, os.ErrNotExist)
}
