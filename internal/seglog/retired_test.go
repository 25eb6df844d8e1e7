package seglog

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// What is left of logs is there after a restart, of the newest of them.
func TestRetired(t *testing.T) {
	dir := t.TempDir()
	s := mustStore(t, dir, testOptions(newClock()))
	all, err := s.Retired()
	require.NoError(t, err)
	require.Empty(t, all)
	oldest := segment.NewLogID()
	all = WithRetired(all, oldest, Retired{1, time.UnixMilli(1)})
	require.NoError(t, s.Retire(oldest, all))
	full := all
	for i := range int64(mostRetired) {
		full = all
		all = WithRetired(all, segment.NewLogID(), Retired{uint64(i) << 40, time.UnixMilli(2 + i)})
	}
	require.Contains(t, full, oldest, "who reads it still has it")
	require.NotContains(t, all, oldest)
	require.NoError(t, s.Retire(segment.NewLogID(), all))
	again, err := s.Retired()
	require.NoError(t, err)
	require.Equal(t, all, again)
	require.Len(t, again, mostRetired)
	require.NoError(t, os.WriteFile(filepath.Join(dir, retiredName), []byte("what is this"), 0o600))
	_, err = s.Retired()
	require.ErrorContains(t, err, "what is this")
}

// A log goes although the disk is too full to say so: that gives the disk room.
func TestRetiredOnAFullDisk(t *testing.T) {
	dir, fs, id := t.TempDir(), newFaultFS(), segment.NewLogID()
	s, err := openStore(dir, testOptions(newClock()), fs)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, fs.Mkdir(filepath.Join(dir, id.String())))
	all := map[segment.LogID]Retired{id: {1, time.UnixMilli(1)}}
	fs.fail(0, false)
	require.Error(t, s.Retire(id, all))
	require.NoDirExists(t, filepath.Join(dir, id.String()))
	require.NoError(t, s.Retire(segment.NewLogID(), all))
	again, err := s.Retired()
	require.NoError(t, err)
	require.Equal(t, all, again)
}

func FuzzRetired(f *testing.F) {
	f.Add("0123456789abcdef0123456789abcdef 5 1700000000000\n")
	f.Add("0123456789abcdef0123456789abcdef 5 17\n0123456789abcdef0123456789abcdef 6 18\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseRetired(text)
		if err != nil {
			return
		}
		again, err := parseRetired(string(formatRetired(all)))
		require.NoError(t, err)
		require.True(t, maps.Equal(all, again))
	})
}
