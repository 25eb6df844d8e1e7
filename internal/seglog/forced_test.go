package seglog

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// heldFS holds up the syncs of files.
type heldFS struct {
	osFS
	began, end chan struct{}
}

type heldFile struct {
	file
	x *heldFS
}

func (f heldFile) Sync() error {
	if f.x.began != nil {
		f.x.began <- struct{}{}
		<-f.x.end
	}
	return f.file.Sync()
}

func (x *heldFS) Create(name string) (file, error) {
	f, err := x.osFS.Create(name)
	return heldFile{f, x}, err
}

func (x *heldFS) hold() { x.began, x.end = make(chan struct{}), make(chan struct{}) }

func (x *heldFS) release() { x.began = nil }

// Blocks that are shown first are visible while they are being forced to the disk, and
// not confirmed. Others are not visible either.
func TestShownFirst(t *testing.T) {
	for _, shown := range []bool{false, true} {
		x := &heldFS{}
		o := testOptions(newClock())
		o.ShowFirst = shown
		s, err := openStore(t.TempDir(), o, x)
		require.NoError(t, err)
		m, rnd := newMemory(), newRand()
		w, err := s.OpenWriter(m)
		require.NoError(t, err)
		x.hold()
		_, err = w.Append(m.block(rnd, 4))
		require.NoError(t, err)
		require.Zero(t, w.Log().Last(), "nobody has waited for it")
		waited := make(chan error, 1)
		go func() { waited <- w.WaitDurable(1) }()
		<-x.began
		require.Equal(t, shown, w.Log().Last() == 1)
		require.Zero(t, w.confirmed())
		second := make(chan error, 1)
		go func() { second <- w.WaitDurable(1) }()
		select {
		case err := <-waited:
			t.Fatal("confirmed before it was on the disk", err)
		case err := <-second:
			t.Fatal("confirmed because it was visible", err)
		case <-time.After(20 * time.Millisecond):
		}
		close(x.end)
		require.NoError(t, <-waited)
		require.NoError(t, <-second)
		require.Equal(t, uint64(1), w.confirmed())
		x.release()
		require.NoError(t, w.Close())
		require.NoError(t, s.Close())
	}
}

// After a failed sync the log ends with what was on the disk before, whatever the next
// sync says, and another one begins. After a failed write it goes on.
func TestShownFirstAndLost(t *testing.T) {
	for _, fault := range []string{"sync", "write"} {
		x, o := newFaultFS(), testOptions(newClock())
		o.ShowFirst = true
		s, err := openStore(t.TempDir(), o, x)
		require.NoError(t, err)
		m, rnd := newMemory(), newRand()
		w, err := s.OpenWriter(m)
		require.NoError(t, err)
		feed(t, w, m, rnd, 3)
		id := w.Log().ID()
		_, err = w.Append(m.block(rnd, 4))
		require.NoError(t, err)
		shown := uint64(3)
		if fault == "sync" {
			x.fail(2, false) // after the block and the end mark
			shown = 4
		} else {
			x.fail(0, false)
		}
		require.ErrorIs(t, w.WaitDurable(4), ErrBroken)
		require.Equal(t, shown, w.Log().Last())
		require.Equal(t, fault, x.failed)
		require.NoError(t, w.WaitDurable(3))
		require.NoError(t, w.Close())
		w, err = s.OpenWriter(newMemory())
		require.NoError(t, err)
		if fault == "write" {
			require.NoError(t, w.Renewed())
			require.Equal(t, uint64(3), w.Log().Last())
		} else {
			require.ErrorIs(t, w.Renewed(), errIncomplete)
			ended, err := s.OpenEnded(id)
			require.NoError(t, err)
			require.Equal(t, uint64(3), ended.Log().Last())
			require.NoError(t, ended.Close())
		}
		require.NoError(t, w.Close())
		require.NoError(t, s.Close())
	}
}

// forcedPair is a writer, and a mirror on a disk with faults.
func forcedPair(t *testing.T) (*pair, *faultFS) {
	p, x := newPair(t), newFaultFS()
	require.NoError(t, p.r.Close())
	require.NoError(t, p.rs.Close())
	var err error
	p.rs, err = openStore(t.TempDir(), testOptions(p.c), x)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.rs.Close() })
	p.r, err = p.rs.OpenMirror(p.w.Log().ID(), p.rm)
	require.NoError(t, err)
	p.rdir = filepath.Join(p.rs.path, p.w.Log().ID().String())
	t.Cleanup(func() { _ = p.r.Close() })
	return p, x
}

func (p *pair) sync() uint64 {
	p.t.Helper()
	last, err := p.r.Sync()
	require.NoError(p.t, err)
	require.Equal(p.t, last, p.r.Durable())
	return last
}

// beginSegment starts the next segment, of which the mirror gets no whole keyframe.
func (p *pair) beginSegment() {
	p.t.Helper()
	require.NoError(p.t, p.w.Rotate())
	raw, err := p.w.Log().ReadRaw(p.t.Context(), p.w.Log().Last())
	require.NoError(p.t, err)
	defer raw.Close()
	for {
		c, err := raw.poll()
		require.NoError(p.t, err)
		if c.Start {
			require.NoError(p.t, p.r.StartSegment(c.SegmentName, c.FirstSequence))
			require.NoError(p.t, p.r.Append(0, c.Data[:segment.HeaderSize]))
			return
		}
		require.NoError(p.t, p.r.Append(c.Offset, c.Data))
	}
}

// What a mirror says is on the disk survives the power's end, at any time: within a
// segment, a keyframe or between them, with names and all.
func TestMirrorSyncs(t *testing.T) {
	for cut := range 12 {
		p, x := forcedPair(t)
		require.Zero(t, p.sync(), "nothing has come")
		var durable uint64
		for i := range 12 {
			p.feed(1 + i%3)
			if i%4 == 1 {
				require.NoError(t, p.w.Rotate())
			}
			ship(t, p.w.Log(), p.r)
			if i%4 == 3 {
				p.beginSegment()
			}
			if i%3 != 1 {
				durable = p.sync()
				require.Equal(t, p.r.Log().Last(), durable)
				require.Equal(t, durable, p.sync(), "nothing was appended since")
			}
			if i == cut {
				break
			}
		}
		x.fail(0, true) // a killed process syncs nothing
		_ = p.r.Close()
		require.NoError(t, x.cutPower())
		x.fail(-1, false)
		p.rm = newMemory()
		var err error
		p.r, err = p.rs.OpenMirror(p.w.Log().ID(), p.rm)
		require.NoError(t, err)
		require.GreaterOrEqual(t, p.r.Log().Last(), durable, "the power was cut after %d", cut)
		require.Zero(t, p.r.Durable(), "it was opened again, and nothing was forced")
		ship(t, p.w.Log(), p.r)
		require.Equal(t, p.w.Log().Last(), p.sync())
		p.equal()
	}
}

// A sync that fails breaks the mirror, and what it may have lost is not believed to be on
// the disk afterwards, though the next sync succeeds: it comes again.
func TestMirrorThatCannotSync(t *testing.T) {
	for fault := range 3 {
		p, x := forcedPair(t)
		want := uint64(0)
		if fault > 0 {
			p.feed(2)
			ship(t, p.w.Log(), p.r)
			want = p.sync()
		}
		p.feed(2)
		ship(t, p.w.Log(), p.r)
		x.fail(0, false)
		var err error
		if fault == 2 {
			// At the end of the segment.
			err = p.r.StartSegment(fileName(p.c.t.UnixMilli(), p.r.Log().Last()+1), p.r.Log().Last()+1)
		} else {
			_, err = p.r.Sync()
		}
		require.ErrorIs(t, err, ErrBroken)
		require.Equal(t, "sync", x.failed)
		_, err = p.r.Sync()
		require.ErrorIs(t, err, ErrBroken)
		require.Equal(t, want, p.r.Durable())
		p.reopenMirror()
		require.Equal(t, want, p.r.Log().Last())
		ship(t, p.w.Log(), p.r)
		require.Equal(t, p.w.Log().Last(), p.sync())
		p.equal()
	}
}

// A mirror that nobody asks to sync keeps what it has when the sync at the end of a
// segment fails: it has promised nothing.
func TestMirrorThatNeverSyncs(t *testing.T) {
	p, x := forcedPair(t)
	p.feed(2)
	ship(t, p.w.Log(), p.r)
	x.fail(0, false)
	require.ErrorIs(t, p.r.StartSegment(fileName(p.c.t.UnixMilli(), 3), 3), ErrBroken)
	p.reopenMirror()
	require.Equal(t, uint64(2), p.r.Log().Last())
}

// Names that cannot be forced to the disk break the mirror as well.
func TestMirrorWithoutNames(t *testing.T) {
	for after := range 2 {
		p, x := forcedPair(t)
		p.feed(1)
		ship(t, p.w.Log(), p.r)
		x.fail(1+after, false)
		_, err := p.r.Sync()
		require.ErrorIs(t, err, ErrBroken)
		require.Equal(t, "syncdir", x.failed)
	}
}

// Appending goes on while the disk works, and what came meanwhile is for the next sync.
func TestMirrorAppendsMeanwhile(t *testing.T) {
	p := newPair(t)
	require.NoError(t, p.r.Close())
	require.NoError(t, p.rs.Close())
	x := &heldFS{}
	var err error
	p.rs, err = openStore(t.TempDir(), testOptions(p.c), x)
	require.NoError(t, err)
	defer func() { require.NoError(t, p.rs.Close()) }()
	p.r, err = p.rs.OpenMirror(p.w.Log().ID(), p.rm)
	require.NoError(t, err)
	p.feed(2)
	ship(t, p.w.Log(), p.r)
	x.hold()
	synced := make(chan uint64, 1)
	failed := make(chan error, 1)
	go func() {
		last, err := p.r.Sync()
		failed <- err
		synced <- last
	}()
	<-x.began
	p.feed(3)
	ship(t, p.w.Log(), p.r)
	require.Equal(t, uint64(5), p.r.Log().Last())
	close(x.end)
	require.NoError(t, errors.Join(<-failed))
	require.Equal(t, uint64(2), <-synced)
	x.release()
	require.Equal(t, uint64(5), p.sync())
	require.NoError(t, p.r.Close())
	_, err = p.r.Sync()
	require.ErrorIs(t, err, ErrClosed)
}
