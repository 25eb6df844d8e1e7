package seglog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// inMemory is a Remote that has segments in memory.
type inMemory struct {
	mu       sync.Mutex
	segments map[string][]byte
	fail     func() error  // asked before each answer, nil: never fails
	gate     chan struct{} // each answer waits until it is closed, nil: none does
	reads    int
	open     int
}

func newInMemory() *inMemory { return &inMemory{segments: map[string][]byte{}} }

func (r *inMemory) OpenSegment(_ segment.LogID, name string) (RemoteSegment, error) {
	if _, err := r.bytes(name); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
	return inMemorySegment{r, name}, nil
}

func (r *inMemory) bytes(name string) ([]byte, error) {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	if r.fail != nil {
		if err := r.fail(); err != nil {
			return nil, err
		}
	}
	b, ok := r.segments[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrRemoteGone)
	}
	return b, nil
}

func (r *inMemory) put(name string, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.segments[name] = b
}

func (r *inMemory) remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.segments, name)
}

// block has all answers wait until the function that it returns is called.
func (r *inMemory) block() (unblock func()) {
	gate := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = gate
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gate = nil
		close(gate)
	})
}

type inMemorySegment struct {
	of   *inMemory
	name string
}

func (s inMemorySegment) ReadAt(b []byte, offset int64) (int, error) {
	all, err := s.of.bytes(s.name)
	if err != nil {
		return 0, err
	}
	return bytes.NewReader(all).ReadAt(b, offset)
}

func (s inMemorySegment) Close() error {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.open--
	return nil
}

// infosOf is what a Remote says of the sealed segments of a log.
func infosOf(t testing.TB, l *Log) (infos []RemoteInfo) {
	t.Helper()
	for _, s := range l.Segments() {
		if !s.Sealed {
			continue
		}
		sum, ok, err := l.Checksum(t.Context(), s.LastSequence)
		require.NoError(t, err)
		require.True(t, ok)
		infos = append(infos, RemoteInfo{
			Name: s.Name, FirstSequence: s.FirstSequence, LastSequence: s.LastSequence, CreateTime: s.CreateTime,
			Size: s.Size, Checksum: sum, MinTime: s.MinTime, MaxTime: s.MaxTime,
		})
	}
	return infos
}

// archivedPair is a writer, whose log is all on its disk, and a mirror with a Remote.
type archivedPair struct {
	*pair
	remote *inMemory
	infos  []RemoteInfo // of all sealed segments
}

// newArchivedPair makes a log of some sealed segments and one that is open, all of which
// the mirror has.
func newArchivedPair(t *testing.T, segments int, rnd *rand.Rand) *archivedPair {
	p := &archivedPair{pair: newPair(t), remote: newInMemory()}
	p.rs.o.Remote = p.remote
	for range segments {
		p.feed(1 + rnd.IntN(12))
		require.NoError(t, p.w.Rotate())
	}
	p.feed(1 + rnd.IntN(12))
	ship(t, p.w.Log(), p.r)
	p.infos = infosOf(t, p.w.Log())
	require.Len(t, p.infos, segments)
	return p
}

// archive has the Remote get segments.
func (p *archivedPair) archive(infos []RemoteInfo) {
	for _, info := range infos {
		p.remote.put(info.Name, readFile(p.t, filepath.Join(p.wdir, info.Name)))
	}
	p.r.Log().SetRemote(infos)
}

// local returns the mirror's segment with a name.
func (p *archivedPair) local(name string) *segFile {
	l := p.r.Log()
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := slices.IndexFunc(l.segs, func(s *segFile) bool { return s.name == name })
	require.GreaterOrEqual(p.t, i, 0)
	return l.segs[i]
}

// delete has the retention of the mirror's disk delete a segment.
func (p *archivedPair) delete(name string) {
	s := p.local(name)
	p.rs.mu.Lock()
	defer p.rs.mu.Unlock()
	require.True(p.t, p.rs.delete(p.r.Log(), s, "test"))
}

// raw returns the bytes that follow a block, by segment.
func raw(t testing.TB, l *Log, after uint64) map[string][]byte {
	t.Helper()
	r, err := l.ReadRaw(t.Context(), after)
	require.NoError(t, err)
	defer r.Close()
	got := map[string][]byte{}
	for {
		c, err := r.poll()
		require.NoError(t, err)
		if len(c.Data) == 0 {
			return got
		}
		got[c.SegmentName] = append(got[c.SegmentName], c.Data...)
	}
}

// frames returns the headers of the frames of a segment, decoded.
func frames(t testing.TB, l *Log, first uint64) (got []segment.FrameHeader) {
	t.Helper()
	r, err := l.ReadSegment(first, nil)
	require.NoError(t, err)
	defer r.Close()
	for {
		f, err := r.Next()
		require.NoError(t, err)
		if f == nil {
			return got
		}
		got = append(got, f.Header)
	}
}

// sameAs checks that every reader gets of a log what it gets of another, up to where the
// first one ends.
func sameAs(t testing.TB, want, got *Log, rnd *rand.Rand) {
	t.Helper()
	last := got.Last()
	require.Equal(t, want.First(), got.First())
	for range 8 {
		after := rnd.Uint64N(last + 1)
		require.Empty(t, cmp.Diff(read(t, want, after)[:last-after], read(t, got, after), cmpopts.EquateEmpty()))
		if last == want.Last() {
			require.Equal(t, raw(t, want, after), raw(t, got, after))
		}
		at := 1 + rnd.Uint64N(last)
		a, _, err := want.Checksum(t.Context(), at)
		require.NoError(t, err)
		b, ok, err := got.Checksum(t.Context(), at)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, a, b)
		x, y := newMemory(), newMemory()
		require.NoError(t, want.Rebuild(at, x, nil))
		require.NoError(t, got.Rebuild(at, y, nil))
		require.Equal(t, x.latest, y.latest)
		x, y = newMemory(), newMemory()
		require.NoError(t, want.RebuildSegment(at, x, nil))
		require.NoError(t, got.RebuildSegment(at, y, nil))
		require.Equal(t, x, y)
	}
	for i, s := range got.Segments() {
		ours := want.Segments()[i]
		require.Equal(t, ours.Name, s.Name)
		require.Equal(t, [4]int64{ours.Size, ours.MinTime, ours.MaxTime, ours.CreateTime.UnixMilli()}, [4]int64{s.Size, s.MinTime, s.MaxTime, s.CreateTime.UnixMilli()})
		require.NoError(t, s.Err)
		require.Equal(t, frames(t, want, s.FirstSequence), frames(t, got, s.FirstSequence))
		for _, at := range []int64{ours.MinTime, ours.MaxTime, ours.MaxTime + 1} {
			a, err := want.ReadSince(at)
			require.NoError(t, err)
			b, err := got.ReadSince(at)
			require.NoError(t, err)
			require.Equal(t, min(a.next, last+1), b.next)
		}
	}
}

// TestRemoteSegmentsAreAsLocalOnes has random segments of a log on the disk, at the Remote
// or at both: every reader gets what it gets of a log that is all on the disk.
func TestRemoteSegmentsAreAsLocalOnes(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			p := newArchivedPair(t, 2+rnd.IntN(5), rnd)
			var archived []RemoteInfo
			for _, info := range p.infos {
				if rnd.IntN(3) > 0 {
					archived = append(archived, info)
				}
			}
			p.archive(archived)
			want := p.r.Log().Last() + 1
			for i := len(p.infos) - 1; i >= 0; i-- {
				info := p.infos[i]
				if isArchived := slices.Contains(archived, info); isArchived && rnd.IntN(2) == 0 {
					p.delete(info.Name)
				}
			}
			for _, s := range p.r.Log().Segments() {
				require.Equal(t, slices.ContainsFunc(archived, func(i RemoteInfo) bool { return i.Name == s.Name }), s.Archived, s.Name)
				if !s.Remote {
					want = min(want, s.FirstSequence)
				}
			}
			require.Equal(t, want, p.r.Log().FirstLocal())
			sameAs(t, p.w.Log(), p.r.Log(), rnd)

			p.reopenMirror()
			p.r.Log().SetRemote(archived)
			sameAs(t, p.w.Log(), p.r.Log(), rnd)
			require.Equal(t, want, p.r.Log().FirstLocal())

			// More comes, and more is archived.
			p.feed(3)
			require.NoError(t, p.w.Rotate())
			p.feed(3)
			ship(t, p.w.Log(), p.r)
			p.infos = infosOf(t, p.w.Log())
			p.archive(p.infos)
			sameAs(t, p.w.Log(), p.r.Log(), rnd)

			// Nothing of it is on the disk.
			require.NoError(t, p.r.Close())
			other := testOptions(p.c)
			other.Remote = p.remote
			l, err := mustStore(t, t.TempDir(), other).OpenRemote(p.w.Log().ID(), p.infos)
			require.NoError(t, err)
			require.Equal(t, p.infos[len(p.infos)-1].LastSequence, l.Last())
			require.Equal(t, l.Last()+1, l.FirstLocal())
			sameAs(t, p.w.Log(), l, rnd)
			_, ok := l.created()
			require.False(t, ok, "it has no file that a link could point at")
			l.CloseRemote()
			l.CloseRemote()
			_, err = l.ReadAfter(0)
			require.ErrorIs(t, err, ErrClosed)
			require.Zero(t, p.remote.open)
		})
	}
}

// TestRemoteWhileRetentionMoves reads from random positions while the retention of the
// disk moves segments to the Remote, and that of the bucket removes the oldest: what comes
// is what was there, in order, with gaps where the oldest was.
func TestRemoteWhileRetentionMoves(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		p := newArchivedPair(t, 8, rnd)
		p.archive(p.infos)
		l := p.r.Log()
		var readers sync.WaitGroup
		moved := make(chan struct{})
		for range 4 {
			after := rnd.Uint64N(l.Last())
			readers.Go(func() {
				for round := 0; ; round++ {
					readMoving(t, l, after, p.want)
					rawMoving(t, l, after, p)
					select {
					case <-moved:
						if round > 0 {
							return
						}
					default:
					}
				}
			})
		}
		gone := 0
		for _, info := range p.infos {
			p.delete(info.Name)
			if rnd.IntN(2) == 0 {
				p.remote.remove(p.infos[gone].Name)
				gone++
				if rnd.IntN(2) == 0 {
					l.SetRemote(p.infos[gone:])
				}
			}
		}
		close(moved)
		readers.Wait()
		l.SetRemote(p.infos[gone:])
		first := p.want[len(p.want)-1].Sequence
		if gone < len(p.infos) {
			first = p.infos[gone].FirstSequence
		}
		require.LessOrEqual(t, l.First(), first)
		for _, s := range l.Segments() {
			require.NoError(t, s.Err)
		}
	}
}

// readMoving reads to the end of a log that loses its beginning meanwhile.
func readMoving(t *testing.T, l *Log, after uint64, want []*segment.Block) {
	r, err := l.ReadAfter(after)
	var old *OutOfRangeError
	if errors.As(err, &old) {
		after = old.Oldest - 1
		r, err = l.ReadAfter(after)
	}
	if err != nil {
		if !errors.As(err, &old) {
			t.Error(err)
		}
		return
	}
	defer r.Close()
	for {
		b, err := r.Next(noSteps)
		var gap *GapError
		switch {
		case errors.As(err, &gap):
			if gap.After != after || gap.Next <= after+1 || gap.Cause != nil {
				t.Errorf("%v after block %d", gap, after)
			}
			after = gap.Next - 1
			continue
		case err != nil:
			t.Error(err)
			return
		case b == nil:
			if after != uint64(len(want)) {
				t.Errorf("read up to block %d of %d", after, len(want))
			}
			return
		}
		after++
		if b.Sequence != after || b.Digest != want[after-1].Digest {
			t.Errorf("block %d in place of %d", b.Sequence, after)
			return
		}
	}
}

// rawMoving is readMoving for the bytes.
func rawMoving(t *testing.T, l *Log, after uint64, p *archivedPair) {
	r, err := l.ReadRaw(t.Context(), after)
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	for {
		c, err := r.poll()
		var gap *GapError
		switch {
		case errors.As(err, &gap):
			if gap.After != after || gap.Cause != nil {
				t.Errorf("%v after block %d", gap, after)
			}
			after = gap.Next - 1
			continue
		case err != nil:
			t.Error(err)
			return
		case len(c.Data) == 0:
			if after != uint64(len(p.want)) {
				t.Errorf("shipped up to block %d of %d", after, len(p.want))
			}
			return
		}
		after = c.LastSequence
		whole := readFile(t, filepath.Join(p.wdir, c.SegmentName))
		if !bytes.Equal(whole[c.Offset:][:len(c.Data)], c.Data) {
			t.Errorf("other bytes at offset %d of %s", c.Offset, c.SegmentName)
		}
	}
}

// TestRemoteThatFailsIsNoDamage has the Remote fail every now and then: readers are told
// that they may come again, and nothing is noted as damage.
func TestRemoteThatFailsIsNoDamage(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	p := newArchivedPair(t, 5, rnd)
	p.archive(p.infos)
	for _, info := range p.infos {
		p.delete(info.Name)
	}
	l := p.r.Log()
	p.remote.fail = func() error {
		if rnd.IntN(3) == 0 {
			return errors.New("connection refused")
		}
		return nil
	}
	failures := 0
	again := func(do func() error) {
		for range 100 {
			err := do()
			if err == nil {
				return
			}
			require.ErrorIs(t, err, ErrRemote)
			var damage *DamageError
			require.NotErrorAs(t, err, &damage)
			failures++
		}
		t.Fatal("it fails for good")
	}
	r, err := l.ReadAfter(0)
	require.NoError(t, err)
	defer r.Close()
	for _, want := range p.want {
		var b *segment.Block
		again(func() (err error) { b, err = r.Next(noSteps); return err })
		require.Equal(t, want, b)
	}
	var read *RawReader
	again(func() (err error) { read, err = l.ReadRaw(t.Context(), 3); return err })
	defer read.Close()
	for after := uint64(3); after < l.Last(); {
		again(func() error {
			c, err := read.Next(t.Context())
			after = max(after, c.LastSequence)
			return err
		})
	}
	again(func() error { return l.Rebuild(2, newMemory(), nil) })
	again(func() error {
		s, err := l.ReadSegment(1, nil)
		if err != nil {
			return err
		}
		defer s.Close()
		for {
			if f, err := s.Next(); f == nil || err != nil {
				return err
			}
		}
	})
	again(func() error { _, _, err := l.Checksum(t.Context(), 1); return err })
	require.Positive(t, failures)
	for _, s := range l.Segments() {
		require.NoError(t, s.Err)
	}
	require.NoError(t, r.Close())
	require.NoError(t, read.Close())
	require.Zero(t, p.remote.open)
}

// TestRemoteDamage: what the Remote gives and is no segment is damage.
func TestRemoteDamage(t *testing.T) {
	p := newArchivedPair(t, 3, newRand())
	p.archive(p.infos)
	for _, info := range p.infos {
		p.delete(info.Name)
	}
	bad := bytes.Clone(p.remote.segments[p.infos[1].Name])
	bad[len(bad)/2] ^= 1
	p.remote.put(p.infos[1].Name, bad)
	r, err := p.r.Log().ReadAfter(p.infos[0].LastSequence)
	require.NoError(t, err)
	defer r.Close()
	var gap *GapError
	for err == nil {
		_, err = r.Next(noSteps)
	}
	require.ErrorAs(t, err, &gap)
	require.Equal(t, p.infos[2].FirstSequence, gap.Next)
	var damage *DamageError
	require.ErrorAs(t, err, &damage)
}

// TestRemoteThatBlocks has the Remote answer nobody: whoever reads the disk goes on, the
// log grows and is closed, and whoever waits for the Remote ends when it no longer wants to
// wait.
func TestRemoteThatBlocks(t *testing.T) {
	p := newArchivedPair(t, 3, newRand())
	p.archive(p.infos)
	p.delete(p.infos[0].Name)
	p.delete(p.infos[1].Name)
	l := p.r.Log()
	unblock := p.remote.block()
	defer unblock()
	ctx, cancel := context.WithCancelCause(t.Context())
	leaving := errors.New("the caller leaves")
	var waiting sync.WaitGroup
	waits := func(name string, do func() error, want error) {
		waiting.Go(func() {
			if err := do(); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		})
	}
	next := func(after uint64, wait Wait) func() error {
		return func() error {
			r, err := l.ReadAfter(after)
			if err != nil {
				return err
			}
			defer r.Close()
			r.Wait = wait
			_, err = r.Next(noSteps)
			return err
		}
	}
	waits("reader", next(0, WaitFor(ctx)), leaving)
	waits("reader of the second", next(p.infos[0].LastSequence, WaitFor(ctx)), leaving)
	waits("raw", func() error { _, err := l.ReadRaw(ctx, 1); return err }, leaving)
	waits("rebuild", func() error { return l.Rebuild(1, newMemory(), WaitFor(ctx)) }, leaving)
	waits("segment", func() error { _, err := l.ReadSegment(1, WaitFor(ctx)); return err }, leaving)
	waits("until the log is closed", next(0, nil), ErrClosed)

	require.Equal(t, p.want[p.infos[1].LastSequence:], read(t, l, p.infos[1].LastSequence), "what is on the disk")
	p.feed(5)
	require.NoError(t, p.w.Rotate())
	p.feed(5)
	ship(t, p.w.Log(), p.r)
	require.Equal(t, p.w.Log().Last(), l.Last())
	l.SetRemote(p.infos)
	p.rs.retain()

	cancel(leaving)
	require.NoError(t, p.r.Close())
	waiting.Wait()
	unblock()
	require.Eventually(t, func() bool {
		p.remote.mu.Lock()
		defer p.remote.mu.Unlock()
		return p.remote.open == 0
	}, time.Minute, time.Millisecond, "what came too late is closed")
}

// TestRemoteReadGivenUp gives up a read in the middle of a segment.
func TestRemoteReadGivenUp(t *testing.T) {
	p := newArchivedPair(t, 1, newRand())
	p.archive(p.infos)
	p.delete(p.infos[0].Name)
	l := p.r.Log()
	f, err := l.openSegment(l.segs[0], nil)
	require.NoError(t, err)
	unblock := p.remote.block()
	defer unblock()
	ctx, cancel := context.WithCancel(t.Context())
	f.(*remoteReader).wait = WaitFor(ctx)
	cancel()
	_, err = f.ReadAt(make([]byte, 10), 0)
	require.ErrorIs(t, err, context.Canceled)
	_, err = f.ReadAt(make([]byte, 10), 0)
	require.ErrorIs(t, err, ErrRemote)
	f.close()
	unblock()
	require.Eventually(t, func() bool {
		p.remote.mu.Lock()
		defer p.remote.mu.Unlock()
		return p.remote.open == 0
	}, time.Minute, time.Millisecond)
}

// TestRemoteInfosThatDoNotFit are of segments that the log has not come to, that overlap,
// or that are of other blocks.
func TestRemoteInfosThatDoNotFit(t *testing.T) {
	p := newArchivedPair(t, 4, newRand())
	last := p.r.Log().Last()
	for name, change := range map[string]func(*RemoteInfo){
		"of the future":   func(i *RemoteInfo) { i.FirstSequence, i.LastSequence = last+1, last+10; i.Name = fileName(0, last+1) },
		"other blocks":    func(i *RemoteInfo) { i.Checksum++ },
		"shorter":         func(i *RemoteInfo) { i.LastSequence--; i.Checksum = 1 },
		"other name":      func(i *RemoteInfo) { i.Name = fileName(1, i.FirstSequence) },
		"no name":         func(i *RemoteInfo) { i.Name = "../../" + i.Name },
		"other sequences": func(i *RemoteInfo) { i.FirstSequence++ },
		"without blocks":  func(i *RemoteInfo) { i.LastSequence = i.FirstSequence - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			infos := slices.Clone(p.infos)
			change(&infos[1])
			p.r.Log().SetRemote(infos)
			segments := p.r.Log().Segments()
			require.Len(t, segments, len(p.infos)+1)
			for i, s := range segments {
				require.False(t, s.Remote)
				if i == 1 && s.Name == p.infos[1].Name && name != "other sequences" {
					require.False(t, s.Archived)
				}
			}
		})
	}
	p.r.Log().SetRemote(nil)
	sameAs(t, p.w.Log(), p.r.Log(), newRand())
}

// TestRetentionWithRemote deletes only what is archived, unless the disk holds more than
// twice what it may.
func TestRetentionWithRemote(t *testing.T) {
	p := newArchivedPair(t, 6, newRand())
	size := func() (n int64) {
		for _, s := range p.r.Log().Segments() {
			if !s.Remote {
				n += s.Size
			}
		}
		return n
	}
	p.c.t = p.c.t.Add(1000 * time.Hour)
	p.rs.o.RetentionTime = time.Hour
	p.rs.o.RetentionSize = size()
	p.rs.retain()
	require.Len(t, segmentFiles(t, p.rdir), 7, "nothing is archived")

	p.archive(p.infos[2:4])
	p.rs.retain()
	require.Len(t, segmentFiles(t, p.rdir), 5, "those that are archived go")
	sameAs(t, p.w.Log(), p.r.Log(), newRand())

	p.rs.o.RetentionTime = 0
	p.rs.o.RetentionSize = size()/unarchivedFactor + 1
	p.rs.retain()
	require.Len(t, segmentFiles(t, p.rdir), 5, "up to twice as much stays")
	require.Equal(t, uint64(1), p.r.Log().First())
	p.rs.o.RetentionSize = size()/unarchivedFactor - 1
	p.rs.retain()
	require.Len(t, segmentFiles(t, p.rdir), 4)
	require.Equal(t, p.infos[1].FirstSequence, p.r.Log().First(), "the oldest is lost")

	p.archive(p.infos[1:])
	p.rs.o.RetentionSize = 1
	p.rs.retain()
	require.Len(t, segmentFiles(t, p.rdir), 1, "the newest stays")
	require.Equal(t, p.infos[1].FirstSequence, p.r.Log().First())
	require.Equal(t, p.want[p.infos[1].FirstSequence-1:], read(t, p.r.Log(), p.infos[1].FirstSequence-1))
}

// BenchmarkReplay reads all blocks of a log, from the disk and from a Remote in memory.
func BenchmarkReplay(b *testing.B) {
	const series, blocks = 2000, 1000
	o := testOptions(nil)
	o.Sync = SyncNever
	s := mustStore(b, b.TempDir(), o)
	w, err := s.OpenWriter(&wide{n: series})
	require.NoError(b, err)
	defer w.Close()
	for i := range blocks {
		x := &segment.Block{}
		for ref := range series {
			x.Samples.Add(segment.Sample{Ref: uint64(1 + ref), Timestamp: int64(15_000 * i), Value: float64(ref * i % 97)})
		}
		_, err := w.Append(x)
		require.NoError(b, err)
	}
	require.NoError(b, w.WaitDurable(blocks))
	require.NoError(b, w.Rotate())
	remote := newInMemory()
	infos := infosOf(b, w.Log())
	for _, info := range infos {
		remote.put(info.Name, readFile(b, filepath.Join(w.Log().dir, info.Name)))
	}
	o.Remote = remote
	far, err := mustStore(b, b.TempDir(), o).OpenRemote(w.Log().ID(), infos)
	require.NoError(b, err)
	defer far.CloseRemote()
	for _, from := range []struct {
		name string
		log  *Log
	}{{"disk", w.Log()}, {"remote", far}} {
		b.Run(from.name, func(b *testing.B) {
			before := processorTime(b)
			for b.Loop() {
				r, err := from.log.ReadAfter(0)
				require.NoError(b, err)
				n := 0
				for {
					block, err := r.Next(noSteps)
					require.NoError(b, err)
					if block == nil {
						break
					}
					n += block.Samples.Len()
				}
				require.Equal(b, series*blocks, n)
				require.NoError(b, r.Close())
			}
			b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N)/(series*blocks), "cpu-ns/sample")
		})
	}
}

// processorTime is what the process has taken of all processors.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
