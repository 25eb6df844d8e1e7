package seglog

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// bootFS is a machine that restarts when told to.
type bootFS struct {
	osFS
	boot bootID
}

func (x *bootFS) Boot() bootID { return x.boot }

// TestOpeningContinuesOrStartsALog opens a log of 8 blocks after all kinds of ends.
// It is continued if nothing can be missing, and left as it is otherwise.
func TestOpeningContinuesOrStartsALog(t *testing.T) {
	written := newFixture(t)
	newest, frames := written.content[1], written.frames[1]
	for _, c := range []struct {
		name   string
		policy SyncPolicy
		killed bool   // it was not closed
		reboot bool   // the machine was restarted
		noBoot bool   // it cannot be told whether it was
		cut    int64  // what is left of the newest segment, 0: all
		mark   []byte // in place of the mark
		unmark bool   // there is no mark
		half   bool   // a place of the mark is half written
		renew  bool
		last   uint64
	}{
		{name: "closed", policy: SyncInterval, last: 8},
		{name: "closed, restarted", policy: SyncNever, reboot: true, last: 8},
		{name: "closed, and cut", policy: SyncAlways, cut: frames[4], renew: true, last: 7},
		{name: "closed, and cut within a frame", policy: SyncInterval, cut: frames[3] + 20, renew: true, last: 6},
		{name: "closed, and cut within the keyframe", policy: SyncInterval, cut: frames[0] + 20, renew: true, last: 4},
		{name: "killed", policy: SyncInterval, killed: true, last: 8},
		{name: "killed, and cut", policy: SyncInterval, killed: true, cut: frames[4], renew: true, last: 7},
		{name: "killed under always, and cut", policy: SyncAlways, killed: true, cut: int64(len(newest)) - 1, renew: true, last: 7},
		{name: "killed, restarted", policy: SyncInterval, killed: true, reboot: true, renew: true, last: 8},
		{name: "killed under never, restarted", policy: SyncNever, killed: true, reboot: true, renew: true, last: 8},
		{name: "killed under always, restarted", policy: SyncAlways, killed: true, reboot: true, last: 8},
		{name: "killed, on a machine that cannot tell", policy: SyncInterval, killed: true, noBoot: true, renew: true, last: 8},
		{name: "killed under always, on a machine that cannot tell", policy: SyncAlways, killed: true, noBoot: true, last: 8},
		{name: "no mark", policy: SyncAlways, unmark: true, renew: true, last: 8},
		{name: "an empty mark", policy: SyncAlways, mark: []byte{}, renew: true, last: 8},
		{name: "a mark of zeros", policy: SyncAlways, mark: make([]byte, endSlots*endSize), renew: true, last: 8},
		{name: "a mark that is half written", policy: SyncAlways, half: true, last: 8},
		{name: "a mark of a log that diverged", policy: SyncAlways, mark: (&end{closed: true, sequence: 8, checksum: 1}).append(nil), renew: true, last: 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &bootFS{boot: bootID{1}}
			if c.noBoot {
				x.boot = bootID{}
			}
			dir, o := t.TempDir(), testOptions(newClock())
			o.Sync = c.policy
			s, err := openStore(dir, o, x)
			require.NoError(t, err)
			m, rnd := newMemory(), newRand()
			w, err := s.OpenWriter(m)
			require.NoError(t, err)
			feed(t, w, m, rnd, 4)
			require.NoError(t, w.Rotate())
			feed(t, w, m, rnd, 4)
			id := w.Log().ID()
			log := filepath.Join(dir, id.String())
			mark := filepath.Join(log, endName)
			open := readFile(t, mark)
			require.NoError(t, w.Close())
			switch {
			case c.killed:
				require.NoError(t, os.WriteFile(mark, open, 0o644))
			case c.half:
				require.NoError(t, os.WriteFile(mark, append(open[:endSize:endSize], make([]byte, endSize/2)...), 0o644))
			case c.unmark:
				require.NoError(t, os.Remove(mark))
			case c.mark != nil:
				require.NoError(t, os.WriteFile(mark, c.mark, 0o644))
			}
			segments := segmentFiles(t, log)
			if c.cut > 0 {
				require.NoError(t, os.Truncate(segments[1], c.cut))
			}
			if c.reboot {
				x.boot[0]++
			}

			m = newMemory()
			w, err = s.OpenWriter(m)
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			defer func() { require.NoError(t, w.Close()) }()
			require.Equal(t, c.renew, w.Renewed() != nil, "%v", w.Renewed())
			require.Equal(t, c.renew, w.Log().ID() != id)
			if !c.renew {
				require.Equal(t, c.last, w.Log().Last())
				feed(t, w, m, rnd, 1)
				return
			}
			require.ErrorIs(t, w.Renewed(), errIncomplete)
			require.Zero(t, w.Log().Last())
			require.Equal(t, c.last, m.blocks[len(m.blocks)-1], "the state is that of the old log")
			feed(t, w, m, rnd, 2)
			require.NoError(t, w.Close())
			// The next opening continues the new one.
			m = newMemory()
			begun := w.Log().ID()
			w, err = s.OpenWriter(m)
			require.NoError(t, err)
			require.NoError(t, w.Renewed())
			require.Equal(t, begun, w.Log().ID())
			require.Equal(t, uint64(2), w.Log().Last())
		})
	}
}

// TestLogThatCannotBeCreatedLeavesNothing has the creation of a log fail at each
// operation.
func TestLogThatCannotBeCreatedLeavesNothing(t *testing.T) {
	for n := 0; ; n++ {
		x := newFaultFS()
		s, err := openStore(t.TempDir(), testOptions(newClock()), x)
		require.NoError(t, err)
		m := newMemory()
		w, err := s.OpenWriter(m)
		require.NoError(t, err)
		feed(t, w, m, newRand(), 2)
		require.NoError(t, w.Close())
		x.fail(n, false)
		old := w.Log().ID()
		w, err = s.CreateWriter(m)
		faulted := x.failed
		x.fail(-1, false)
		if faulted == "" {
			require.NoError(t, err)
			require.NoError(t, w.Close())
			require.NoError(t, s.Close())
			return
		}
		require.Error(t, err, faulted)
		w, err = s.OpenWriter(newMemory())
		require.NoError(t, err, faulted)
		require.NoError(t, w.Renewed())
		if w.Log().ID() == old {
			require.Equal(t, []segment.LogID{old}, s.Logs(), faulted)
		}
		require.NoError(t, w.Close())
		require.NoError(t, s.Close())
	}
}

// What a killed process left of a log that it was creating goes, and
// a log that has lost its segments does not: others may have it.
func TestLogThatWasNotBegunIsRemoved(t *testing.T) {
	path := t.TempDir()
	s, err := OpenStore(path, testOptions(newClock()))
	require.NoError(t, err)
	m := newMemory()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	feed(t, w, m, newRand(), 2)
	require.NoError(t, w.Close())
	folder := func(files map[string][]byte) segment.LogID {
		id := segment.NewLogID()
		require.NoError(t, os.Mkdir(s.dir(id), 0o755))
		for name, content := range files {
			require.NoError(t, os.WriteFile(filepath.Join(s.dir(id), name), content, 0o644))
		}
		return id
	}
	none, shown := end{}, end{sequence: 5}
	segmentName := "20261123T004213.123Z-00000000000000000001.seg"
	folder(nil)
	folder(map[string][]byte{endName: none.append(nil)})
	folder(map[string][]byte{endName: none.append(none.append(nil)), segmentName + tempExt: {1}})
	kept := []segment.LogID{
		w.Log().ID(),
		folder(map[string][]byte{endName: shown.append(nil)}),
		folder(map[string][]byte{endName: {1, 2, 3}}),
		folder(map[string][]byte{segmentName: {1}}),
		folder(map[string][]byte{"notes": {1}}),
	}
	w, err = s.OpenWriter(newMemory())
	require.NoError(t, err)
	require.NoError(t, w.Renewed())
	require.ElementsMatch(t, kept, s.Logs())
	require.NoError(t, w.Close())
	require.NoError(t, s.Close())
}

// FuzzEnd reads any bytes as the mark of a log.
func FuzzEnd(f *testing.F) {
	e := end{boot: bootID{1, 2}, closed: true, synced: true, sequence: 1 << 40, checksum: 7}
	f.Add(e.append(nil))
	f.Add(e.append(e.append(nil)))
	f.Add(make([]byte, endSize))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := latestEnd(b)
		if err != nil {
			require.Equal(t, end{}, e)
			return
		}
		again, err := latestEnd(e.append(nil))
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}
