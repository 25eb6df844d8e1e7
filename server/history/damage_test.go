package history

import (
	"bytes"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/seglog"
)

// filled returns a log with a complete segment and one that is written.
func filled(t testing.TB, blocks int) *writing {
	r := rand.New(rand.NewPCG(uint64(blocks), 3))
	w := newWriting(t, seglog.Options{Sync: seglog.SyncNever})
	for i := range blocks {
		w.randomBlock(r)
		if i == blocks/2 {
			w.rotate(0)
		}
	}
	return w
}

// requireAll selects everything, and compares.
func requireAll(t testing.TB, w *writing, s *Store) {
	t.Helper()
	for _, sel := range selections(t) {
		want := w.want(sel, math.MinInt64, math.MaxInt64)
		require.Equal(t, want, found(t, s, w.log(), sel, math.MinInt64, math.MaxInt64))
	}
	require.NotEmpty(t, w.want(selections(t)[0], math.MinInt64, math.MaxInt64))
}

func partsOf(t testing.TB, s *Store) []string {
	names, err := filepath.Glob(filepath.Join(s.path, "*"+partExt))
	require.NoError(t, err)
	return names
}

// Whatever is done to the parts on the disk, before a server starts or while it runs,
// what is found is what the log has, and that is said once.
func TestDamagedPartsAreMadeAnew(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, r *rand.Rand, file string){
		"a byte": func(t *testing.T, r *rand.Rand, file string) {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
			require.NoError(t, os.WriteFile(file, b, 0o600))
		},
		"cut off": func(t *testing.T, r *rand.Rand, file string) {
			info, err := os.Stat(file)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(file, r.Int64N(info.Size())))
		},
		"removed": func(t *testing.T, _ *rand.Rand, file string) { require.NoError(t, os.Remove(file)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := filled(t, 40)
			r := rand.New(rand.NewPCG(5, 5))
			var log bytes.Buffer
			o := options()
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s := openStore(t, w, o)
			requireAll(t, w, s)
			for i := range 60 {
				files := partsOf(t, s)
				require.NotEmpty(t, files)
				log.Reset()
				if i%2 == 0 {
					closeStore(t, s)
				}
				damage(t, r, files[r.IntN(len(files))])
				if i%2 == 0 {
					s = openStore(t, w, o)
				}
				requireAll(t, w, s)
				require.LessOrEqual(t, strings.Count(log.String(), "\n"), 1, log.String())
			}
			closeStore(t, s)
		})
	}
}

// The parts of many segments may be damaged at once.
func TestManyDamagedParts(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 3))
	w := newWriting(t, seglog.Options{Sync: seglog.SyncNever})
	for range 4 * attempts {
		for range 3 {
			w.randomBlock(r)
		}
		w.rotate(0)
	}
	s := openStore(t, w, options())
	requireAll(t, w, s)
	files := partsOf(t, s)
	require.Greater(t, len(files), 2*attempts)
	for _, file := range files {
		require.NoError(t, os.Truncate(file, 10))
	}
	requireAll(t, w, s)
	closeStore(t, s)
}

// A part of other blocks is not used, whatever its name says.
func TestPartsOfOtherLogs(t *testing.T) {
	w, other := filled(t, 40), filled(t, 41)
	s, theirs := openStore(t, w, options()), openStore(t, other, options())
	requireAll(t, w, s)
	requireAll(t, other, theirs)
	ours, foreign := partsOf(t, s), partsOf(t, theirs)
	closeStore(t, s)
	closeStore(t, theirs)
	b, err := os.ReadFile(foreign[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(ours[0], b, 0o600))
	// As if it was of a log with the same id, but other blocks.
	tr, err := parseTrailer(b[len(b)-trailerSize:])
	require.NoError(t, err)
	sp, ok := parseName(filepath.Base(ours[0]))
	require.True(t, ok)
	tr.span = sp
	s = openStore(t, w, options())
	requireAll(t, w, s)
	closeStore(t, s)
	require.NoError(t, os.WriteFile(partsOf(t, s)[0], tr.append(b[:len(b)-trailerSize]), 0o600))
	s = openStore(t, w, options())
	requireAll(t, w, s)
	closeStore(t, s)
}

// The parts that one server has made are those of another that has the same log.
func TestPartsOfAnotherServer(t *testing.T) {
	w := filled(t, 40)
	w.rotate(0)
	require.NoError(t, w.w.Close())
	require.NoError(t, w.logs.Close())
	other := *w
	other.dir = t.TempDir()
	require.NoError(t, os.CopyFS(other.dir, os.DirFS(w.dir)))
	w.open()
	other.open()
	defer other.close()
	s := openStore(t, w, options())
	requireAll(t, w, s)
	closeStore(t, s)
	require.NoError(t, os.CopyFS(filepath.Join(other.dir, folderName), os.DirFS(s.path)))
	theirs := openStore(t, &other, options())
	sel := selections(t)[0]
	require.Equal(t, w.want(sel, math.MinInt64, math.MaxInt64), found(t, theirs, other.log(), sel, math.MinInt64, math.MaxInt64))
	require.Zero(t, testutil.ToFloat64(theirs.metrics.written))
	closeStore(t, theirs)
}
