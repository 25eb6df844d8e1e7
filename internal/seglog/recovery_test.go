package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// fixture is a log of two segments on disk: 1 to 4 sealed, 5 to 8 not.
type fixture struct {
	dir, log string
	id       segment.LogID
	want     []*segment.Block
	files    []string
	content  [][]byte
	frames   [][]int64 // offsets
	end      []byte    // says that the log has come to block 4
}

func newFixture(t testing.TB) *fixture {
	x := &fixture{dir: t.TempDir()}
	s := mustStore(t, x.dir, testOptions(newClock()))
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	x.want = feed(t, w, m, rnd, 4)
	require.NoError(t, w.Rotate())
	x.end = w.end.end.append(nil)
	x.want = append(x.want, feed(t, w, m, rnd, 4)...)
	x.id = w.Log().ID()
	x.log = filepath.Join(x.dir, x.id.String())
	require.NoError(t, w.Close())
	require.NoError(t, s.Close())
	x.files = segmentFiles(t, x.log)
	for _, f := range x.files {
		b := readFile(t, f)
		x.content = append(x.content, b)
		x.frames = append(x.frames, offsets(t, b))
	}
	return x
}

func offsets(t testing.TB, b []byte) []int64 {
	var out []int64
	frames := segment.NewFrameReader(bytes.NewReader(b), segment.HeaderSize)
	for {
		at := frames.Offset()
		if _, err := frames.Skip(int64(len(b))); errors.Is(err, io.EOF) {
			return out
		} else {
			require.NoError(t, err)
		}
		out = append(out, at)
	}
}

// reset puts the files back, with one of them changed, as if the writer had been
// killed before block 5 was visible.
func (x *fixture) reset(t testing.TB, i int, content []byte) {
	entries, err := os.ReadDir(x.log)
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.Remove(filepath.Join(x.log, e.Name())))
	}
	for j, f := range x.files {
		b := x.content[j]
		if j == i {
			b = content
		}
		if b != nil {
			require.NoError(t, os.WriteFile(f, b, 0o644))
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(x.log, endName), x.end, 0o644))
}

// open opens the log for writing and returns what readers get, in which gaps
// are passed over.
func (x *fixture) open(t testing.TB) (got []*segment.Block, gaps []error, err error) {
	s, err := openStore(x.dir, testOptions(newClock()), quickFS{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	m := newMemory()
	w, err := s.OpenWriter(m)
	if err != nil {
		return nil, nil, err
	}
	defer func() { require.NoError(t, w.Close()) }()
	feed(t, w, m, newRand(), 1)
	got, gaps = readAround(t, w.Log())
	return got[:len(got)-1], gaps, nil
}

func readAround(t testing.TB, l *Log) (got []*segment.Block, gaps []error) {
	r, err := l.ReadAfter(l.First() - 1)
	require.NoError(t, err)
	defer r.Close()
	for {
		b, err := r.Next(noSteps)
		var gap *GapError
		switch {
		case errors.As(err, &gap):
			gaps = append(gaps, err)
		case err != nil:
			require.NoError(t, err)
		case b == nil:
			return got, gaps
		default:
			got = append(got, b)
		}
	}
}

func with(b []byte, at int64, put ...byte) []byte {
	out := append([]byte(nil), b...)
	copy(out[at:], put)
	return out
}

func TestRecovery(t *testing.T) {
	x := newFixture(t)
	newest, frames := x.content[1], x.frames[1] // keyframe, 5, 6, 7, 8
	oldest := x.content[0]
	junk := bytes.Repeat([]byte("junk"), 100)
	unsynced := func() []byte {
		// Two frames of one sync, of which the first did not reach the disk.
		b := append([]byte(nil), newest...)
		h, err := segment.ParseFrameHeader(b[frames[4]:])
		require.NoError(t, err)
		require.Equal(t, uint64(frames[4]), h.Synced)
		out := append(b[:frames[4]:frames[4]], make([]byte, 200)...)
		return append(out, b[frames[4]:]...)
	}
	for _, c := range []struct {
		name    string
		file    int
		content []byte
		want    []uint64
		gaps    int
		file2   int // of the error
		offset  int64
		damaged bool
	}{
		{name: "untouched", file: 1, content: newest, want: span(1, 8)},
		{name: "torn header of the last frame", file: 1, content: newest[:frames[4]+50], want: span(1, 7)},
		{name: "torn payload of the last frame", file: 1, content: newest[:len(newest)-1], want: span(1, 7)},
		{name: "last frame never written but the size", file: 1, content: with(newest, frames[4], make([]byte, len(newest)-int(frames[4]))...), want: span(1, 7)},
		{name: "junk after the last frame", file: 1, content: append(newest[:len(newest):len(newest)], junk...), want: span(1, 8)},
		{name: "hole before a frame of the same sync", file: 1, content: unsynced(), want: span(1, 7)},
		{name: "flipped bit in a committed payload", file: 1, content: with(newest, frames[2]+200, newest[frames[2]+200]^1), damaged: true, file2: 1, offset: frames[2]},
		{name: "flipped bit in a committed header", file: 1, content: with(newest, frames[1]+20, newest[frames[1]+20]^1), damaged: true, file2: 1, offset: frames[1]},
		{name: "length of a committed frame beyond the file", file: 1, content: with(newest, frames[2]+8, 255, 255, 255, 255), damaged: true, file2: 1, offset: frames[2]},
		{name: "flipped bit in the keyframe", file: 1, content: with(newest, frames[0]+130, newest[frames[0]+130]^1), damaged: true, file2: 1, offset: frames[0]},
		{name: "flipped bit in the file header", file: 1, content: with(newest, 3, 'x'), damaged: true, file2: 1, offset: 0},
		{name: "file header of another version", file: 1, content: otherVersion(newest), damaged: true, file2: 1, offset: 0},
		{name: "torn rotation: empty file", file: 1, content: []byte{}, want: span(1, 4)},
		{name: "torn rotation: half a file header", file: 1, content: newest[:30], want: span(1, 4)},
		{name: "torn rotation: half a keyframe", file: 1, content: newest[:frames[1]-1], want: span(1, 4)},
		{name: "torn rotation: zeros", file: 1, content: make([]byte, 300), want: span(1, 4)},
		{name: "newest is missing", file: 1, content: nil, want: span(1, 4)},
		{name: "oldest is missing", file: 0, content: nil, want: span(5, 8)},
		{name: "oldest is empty", file: 0, content: []byte{}, want: span(5, 8), gaps: 1},
		{name: "oldest without footer", file: 0, content: oldest[:len(oldest)-128], want: span(1, 8)},
		{name: "oldest cut in a block", file: 0, content: oldest[:x.frames[0][3]+9], want: append(span(1, 2), span(5, 8)...), gaps: 1},
		{name: "oldest flipped in a block", file: 0, content: with(oldest, x.frames[0][2]+150, oldest[x.frames[0][2]+150]^1), want: append(span(1, 1), span(5, 8)...), gaps: 1},
		{name: "oldest flipped in the keyframe", file: 0, content: with(oldest, x.frames[0][0]+1, 0), want: span(5, 8), gaps: 1},
		{name: "oldest of another version", file: 0, content: otherVersion(oldest), want: span(5, 8), gaps: 1},
		{name: "oldest with junk after the footer", file: 0, content: append(oldest[:len(oldest):len(oldest)], junk...), want: span(1, 8)},
	} {
		t.Run(c.name, func(t *testing.T) {
			x.reset(t, c.file, c.content)
			got, gaps, err := x.open(t)
			if c.damaged {
				var damage *DamageError
				require.ErrorAs(t, err, &damage)
				require.Equal(t, x.files[c.file2], damage.File)
				require.Equal(t, c.offset, damage.Offset)
				require.Contains(t, err.Error(), x.files[c.file2])
				require.Equal(t, c.content, readFile(t, x.files[c.file]), "nothing is changed")
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, sequences(got))
			for _, b := range got {
				require.Equal(t, x.want[b.Sequence-1], b)
			}
			require.Len(t, gaps, c.gaps)
		})
	}
}

// otherVersion makes the version the next, with a checksum that is right.
func otherVersion(b []byte) []byte {
	out := with(b, 8, segment.Version+1)
	binary.LittleEndian.PutUint32(out[60:], crc32.Checksum(out[:60], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	x := newFixture(t)
	names := []string{"notes.txt", "x.seg", "x.seg.tmp", "20261123T004213.123Z-1.seg"}
	for _, n := range names {
		require.NoError(t, os.WriteFile(filepath.Join(x.log, n), []byte(n), 0o644))
	}
	unfinished := filepath.Base(x.files[1]) + tempExt
	require.NoError(t, os.WriteFile(filepath.Join(x.log, unfinished), nil, 0o644))
	got, gaps, err := x.open(t)
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Equal(t, x.want, got)
	for _, n := range names {
		require.Equal(t, n, string(readFile(t, filepath.Join(x.log, n))))
	}
	require.NoFileExists(t, filepath.Join(x.log, unfinished))
}

// Every byte of a small log cut at and flipped: opening yields the committed
// prefix or an error with file and offset.
func TestEveryByte(t *testing.T) {
	x := newFixture(t)
	step := 1
	if testing.Short() {
		step = 17
	}
	check := func(what string, file int, content []byte) {
		x.reset(t, file, content)
		got, gaps, err := x.open(t)
		var damage *DamageError
		if err != nil {
			require.ErrorAs(t, err, &damage, what)
			require.Equal(t, x.files[file], damage.File)
			require.LessOrEqual(t, damage.Offset, int64(len(content)))
			require.Equal(t, content, readFile(t, x.files[file]), what)
			return
		}
		for _, b := range got {
			require.Equal(t, x.want[b.Sequence-1], b, what)
		}
		if file == 0 {
			require.Equal(t, span(5, 8), sequences(got[len(got)-4:]), "%s: the newer segment stands alone", what)
			for _, gap := range gaps {
				require.ErrorContains(t, gap, "gap")
			}
			return
		}
		require.Empty(t, gaps)
		require.Equal(t, span(1, uint64(len(got))), sequences(got), what)
		require.GreaterOrEqual(t, len(got), 4, what)
	}
	for file := range x.content {
		for at := 0; at < len(x.content[file]); at += step {
			check(fmt.Sprintf("file %d cut at %d", file, at), file, x.content[file][:at])
			check(fmt.Sprintf("file %d flipped at %d", file, at), file, with(x.content[file], int64(at), x.content[file][at]^0x10))
		}
	}
}

// The same for a mirror, which cuts where the writer would refuse.
func TestEveryByteOfMirror(t *testing.T) {
	x := newFixture(t)
	for file := range x.content {
		for at := 0; at < len(x.content[file]); at += 7 {
			for _, content := range [][]byte{x.content[file][:at], with(x.content[file], int64(at), x.content[file][at]^0x10)} {
				x.reset(t, file, content)
				s, err := openStore(x.dir, testOptions(newClock()), quickFS{})
				require.NoError(t, err)
				r, err := s.OpenMirror(x.id, newMemory())
				require.NoError(t, err, "file %d at %d", file, at)
				got, _ := readAround(t, r.Log())
				for _, b := range got {
					require.Equal(t, x.want[b.Sequence-1], b)
				}
				require.NoError(t, r.Close())
				require.NoError(t, s.Close())
			}
		}
	}
}

// noise is text that does not get shorter when it is compressed.
func noise(rnd *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}

// script appends and rotates until it fails, and returns what was confirmed.
func script(w *Writer, m *memory, blocks int) (confirmed uint64, err error) {
	rnd := newRand()
	for i := range blocks {
		b := m.block(rnd, 8)
		if i%9 == 8 { // It is written before the sync that it shares.
			b.Verdict.Errors = []string{noise(rnd, maxGroup)}
		}
		seq, err := w.Append(b)
		if err != nil {
			return confirmed, err
		}
		if err := m.ApplyBlock(b); err != nil {
			return confirmed, err
		}
		if i%3 == 2 { // some share a sync
			continue
		}
		if err := w.WaitDurable(seq); err != nil {
			return confirmed, err
		}
		confirmed = seq
		if i%5 == 4 {
			if err := w.Rotate(); err != nil {
				return confirmed, err
			}
		}
	}
	return confirmed, nil
}

func TestEveryFault(t *testing.T) {
	kinds := map[string]int{}
	for _, c := range []struct {
		name string
		fault
	}{
		{"one operation fails", fault{}},
		{"one operation fails, short writes", fault{short: true}},
		{"disk stays full", fault{sticky: true, short: true}},
		{"one operation fails, then the power", fault{short: true, power: true}},
		{"disk stays full, then the power", fault{sticky: true, short: true, power: true}},
	} {
		for _, c.shown = range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, shown first: %t", c.name, c.shown), func(t *testing.T) {
				for n := 0; c.at(t, n, kinds); n++ {
				}
			})
		}
	}
	for _, kind := range []string{"write", "sync", "create", "rename", "symlink", "syncdir"} {
		require.NotZero(t, kinds[kind], kind)
	}
}

// fault is what goes wrong.
type fault struct {
	sticky, short, power bool
	shown                bool // blocks are visible before they are forced to the disk
}

// at runs the script with a fault at the n-th operation, and reports whether there was
// one.
func (c fault) at(t *testing.T, n int, kinds map[string]int) bool {
	dir, x, o := t.TempDir(), newFaultFS(), testOptions(newClock())
	x.short, o.ShowFirst = c.short, c.shown
	s, err := openStore(dir, o, x)
	require.NoError(t, err)
	m := newMemory()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	x.fail(n, c.sticky)
	confirmed, err := script(w, m, 20)
	faulted := x.failed
	if faulted == "" {
		require.NoError(t, err)
		x.fail(-1, false)
		require.NoError(t, w.Close())
		require.NoError(t, s.Close())
		return false
	}
	kinds[faulted]++
	visible := w.Log().Last()
	require.GreaterOrEqual(t, visible, confirmed)
	if err != nil {
		require.ErrorIs(t, err, ErrBroken)
		_, err = w.Append(m.block(newRand(), 1))
		require.ErrorIs(t, err, ErrBroken)
	}
	_ = w.Close()
	if c.power {
		require.NoError(t, s.Close())
		require.NoError(t, x.cutPower())
	}
	x.fail(-1, false)
	if c.power {
		s, err = openStore(dir, o, x)
		require.NoError(t, err)
	}
	m = newMemory()
	before := w.Log().ID()
	w, err = s.OpenWriter(m)
	require.NoError(t, err, "fault in %s at operation %d", faulted, n)
	old := w.Log()
	if w.Renewed() != nil {
		require.True(t, c.shown, "fault in %s at operation %d: %v", faulted, n, w.Renewed())
		ended, err := s.OpenEnded(before)
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		defer func() { require.NoError(t, ended.Close()) }()
		old, visible = ended.Log(), confirmed
	} else {
		defer func() { require.NoError(t, s.Close()) }()
	}
	require.Equal(t, before, old.ID())
	require.GreaterOrEqual(t, old.Last(), visible, "fault in %s at operation %d", faulted, n)
	require.Equal(t, span(1, old.Last()), sequences(read(t, old, 0)))
	last := w.Log().Last()
	_, err = script(w, m, 6)
	require.NoError(t, err)
	require.NoError(t, w.WaitDurable(last+6))
	require.Equal(t, span(1, last+6), sequences(read(t, w.Log(), 0)))
	require.NoError(t, w.Close())
	return true
}

// The power is cut at any time, without any error before.
func TestPowerCut(t *testing.T) {
	for blocks := range 40 {
		for _, c := range []struct {
			policy SyncPolicy
			shown  bool
		}{{SyncAlways, false}, {SyncAlways, true}, {SyncNever, false}} {
			dir, x := t.TempDir(), newFaultFS()
			o := testOptions(newClock())
			o.Sync, o.ShowFirst = c.policy, c.shown
			s, err := openStore(dir, o, x)
			require.NoError(t, err)
			m := newMemory()
			w, err := s.OpenWriter(m)
			require.NoError(t, err)
			id := w.Log().ID()
			confirmed, err := script(w, m, blocks)
			require.NoError(t, err)
			// A killed process syncs nothing on its way.
			x.fail(0, true)
			_ = w.Close()
			require.NoError(t, s.Close())
			require.NoError(t, x.cutPower())
			x.fail(-1, false)
			s, err = openStore(dir, o, x)
			require.NoError(t, err)
			m = newMemory()
			w, err = s.OpenWriter(m)
			require.NoError(t, err, "%d blocks, %+v", blocks, c)
			if !o.showsUnforced() {
				require.GreaterOrEqual(t, w.Log().Last(), confirmed)
				require.Equal(t, id, w.Log().ID())
				require.NoError(t, w.Renewed())
			} else {
				require.NotEqual(t, id, w.Log().ID(), "others may have what is lost")
				require.Error(t, w.Renewed())
			}
			if c.shown {
				ended, err := s.OpenEnded(id)
				require.NoError(t, err)
				require.GreaterOrEqual(t, ended.Log().Last(), confirmed)
				require.NoError(t, ended.Close())
			}
			last := w.Log().Last()
			require.Equal(t, span(1, last), sequences(read(t, w.Log(), 0)))
			require.NoError(t, w.Close())
			require.NoError(t, s.Close())
		}
	}
}
