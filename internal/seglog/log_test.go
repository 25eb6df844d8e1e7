package seglog

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promgrpc/exporter/internal/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAppendReadReopen(t *testing.T) {
	for _, policy := range []SyncPolicy{SyncAlways, SyncInterval, SyncNever} {
		t.Run(policy.String(), func(t *testing.T) {
			dir, c := t.TempDir(), newClock()
			o := testOptions(c)
			o.Sync = policy
			s := mustStore(t, dir, o)
			m, rnd := newMemory(), newRand()
			w, err := s.OpenWriter(m)
			require.NoError(t, err)
			want := feed(t, w, m, rnd, 20)
			c.t = c.t.Add(2 * time.Hour)
			want = append(want, feed(t, w, m, rnd, 20)...)
			require.Equal(t, want, read(t, w.Log(), 0))
			require.Equal(t, want[33:], read(t, w.Log(), 33))
			require.Len(t, w.Log().Segments(), 2)
			id := w.Log().ID()
			require.NoError(t, w.Close())
			require.NoError(t, w.Close())

			m2 := newMemory()
			w, err = s.OpenWriter(m2)
			require.NoError(t, err)
			defer w.Close()
			require.Equal(t, id, w.Log().ID())
			require.Equal(t, m.series, m2.series)
			require.Equal(t, m.latest, m2.latest)
			require.Equal(t, span(21, 40), m2.blocks, "only the newest segment is read")
			want = append(want, feed(t, w, m2, rnd, 5)...)
			require.Equal(t, want, read(t, w.Log(), 0))
			require.Equal(t, uint64(45), w.Log().Last())
			require.Len(t, w.Log().Segments(), 2)
		})
	}
}

func TestOneWaitMakesAllBeforeItVisible(t *testing.T) {
	s := mustStore(t, t.TempDir(), testOptions(nil))
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	for range 5 {
		b := m.block(rnd, 3)
		_, err := w.Append(b)
		require.NoError(t, err)
		require.NoError(t, m.ApplyBlock(b))
	}
	require.Zero(t, w.Log().Last(), "nobody has asked for it yet")
	require.NoError(t, w.WaitDurable(1))
	require.Equal(t, uint64(5), w.Log().Last())
	require.ErrorContains(t, w.WaitDurable(6), "block 6 was not appended")
}

func TestLatestLinks(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := mustStore(t, dir, testOptions(c))
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	check := func() {
		segs := w.Log().Segments()
		newest := segs[len(segs)-1].Name
		target, err := os.Readlink(filepath.Join(dir, w.Log().ID().String(), "latest"))
		require.NoError(t, err)
		require.Equal(t, newest, target)
		a, b := readFile(t, filepath.Join(dir, "latest")), readFile(t, filepath.Join(dir, w.Log().ID().String(), newest))
		require.Equal(t, b, a)
	}
	check()
	require.Equal(t, "20261123T004213.123Z-00000000000000000001.seg", w.Log().Segments()[0].Name)
	feed(t, w, m, rnd, 3)
	c.t = c.t.Add(-time.Hour) // a clock set back does not disturb the order of names
	require.NoError(t, w.Rotate())
	check()
	require.Equal(t, "20261123T004213.124Z-00000000000000000004.seg", w.Log().Segments()[1].Name)
	require.NoError(t, w.Rotate())
	require.Len(t, w.Log().Segments(), 2, "without a block there is nothing to rotate")
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := mustStore(t, dir, testOptions(nil))
	_, err := OpenStore(dir, testOptions(nil))
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	again := mustStore(t, dir, testOptions(nil))
	require.NoError(t, again.Close())

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err = OpenStore(file, testOptions(nil))
	require.ErrorContains(t, err, file)
}

func TestRotationBySizeLeavesRoomForBlocks(t *testing.T) {
	o := testOptions(newClock())
	o.SegmentSize = 1
	s := mustStore(t, t.TempDir(), o)
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	want := feed(t, w, m, rnd, 100)
	require.Equal(t, want, read(t, w.Log(), 0))
	segs := w.Log().Segments()
	require.Greater(t, len(segs), 5)
	require.Less(t, len(segs), 60, "the blocks of a segment take at least as much as its keyframe")
	for i, s := range segs {
		require.Equal(t, i < len(segs)-1, s.Sealed)
	}
}

func TestRetention(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	o := testOptions(c)
	o.RetentionTime = 90 * time.Minute
	s := mustStore(t, dir, o)
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	feed(t, w, m, rnd, 10)
	slow, err := w.Log().ReadAfter(0)
	require.NoError(t, err)
	defer slow.Close()
	b, err := slow.Next(noSteps)
	require.NoError(t, err)
	require.Equal(t, uint64(1), b.Sequence)
	raw, err := w.Log().ReadRaw(t.Context(), 0)
	require.NoError(t, err)
	defer raw.Close()
	_, err = raw.Next(context.Background())
	require.NoError(t, err)

	for range 4 {
		c.t = c.t.Add(time.Hour)
		feed(t, w, m, rnd, 10)
	}
	require.Equal(t, uint64(21), w.Log().First())
	require.Len(t, segmentFiles(t, filepath.Join(dir, w.Log().ID().String())), 3)

	_, err = w.Log().ReadAfter(19)
	var old *OutOfRangeError
	require.ErrorAs(t, err, &old)
	require.Equal(t, uint64(21), old.Oldest)
	require.ErrorAs(t, w.Log().Rebuild(5, newMemory(), nil), &old)

	// The file that a reader has open is read to its end.
	for want := uint64(2); want <= 10; want++ {
		b, err := slow.Next(noSteps)
		require.NoError(t, err)
		require.Equal(t, want, b.Sequence)
	}
	var gap *GapError
	_, err = slow.Next(noSteps)
	require.ErrorAs(t, err, &gap)
	require.Equal(t, GapError{After: 10, Next: 21}, *gap)
	b, err = slow.Next(noSteps)
	require.NoError(t, err)
	require.Equal(t, uint64(21), b.Sequence)

	chunk, err := raw.Next(context.Background())
	require.NoError(t, err, "the rest of the deleted file, its footer included")
	require.Equal(t, uint64(10), chunk.LastSequence)
	_, err = raw.Next(context.Background())
	require.ErrorAs(t, err, &gap)
	require.Equal(t, GapError{After: 10, Next: 21}, *gap)
	chunk, err = raw.Next(context.Background())
	require.NoError(t, err)
	require.True(t, chunk.Start)
	require.Equal(t, uint64(21), chunk.FirstSequence)

	// By size, never the newest.
	s.o.RetentionSize = 1
	s.retain()
	require.Equal(t, uint64(41), w.Log().First())
	require.Len(t, segmentFiles(t, filepath.Join(dir, w.Log().ID().String())), 1)
}

func TestReadSince(t *testing.T) {
	c := newClock()
	s := mustStore(t, t.TempDir(), testOptions(c))
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	for range 3 {
		feed(t, w, m, rnd, 10)
		require.NoError(t, w.Rotate())
	}
	segs := w.Log().Segments()
	first := func(at int64) uint64 {
		r, err := w.Log().ReadSince(at)
		require.NoError(t, err)
		defer r.Close()
		b, err := r.Next(noSteps)
		require.NoError(t, err)
		if b == nil {
			return 0
		}
		return b.Sequence
	}
	require.Equal(t, uint64(1), first(0))
	require.Equal(t, uint64(1), first(segs[0].MaxTime))
	require.Equal(t, uint64(11), first(segs[0].MaxTime+1))
	require.Equal(t, uint64(21), first(segs[2].MinTime))
	require.Equal(t, uint64(0), first(segs[2].MaxTime+1))
}

func TestChecksumAndRebuild(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := mustStore(t, dir, testOptions(c))
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	sums := map[uint64]uint32{}
	states := map[uint64]map[uint64]segment.Latest{}
	for i := uint64(1); i <= 60; i++ {
		feed(t, w, m, rnd, 1)
		sum, ok, err := w.Log().Checksum(t.Context(), i)
		require.NoError(t, err)
		require.True(t, ok)
		sums[i] = sum
		states[i] = map[uint64]segment.Latest{}
		for ref, l := range m.latest {
			states[i][ref] = l
		}
		if i%20 == 0 {
			require.NoError(t, w.Rotate())
		}
	}
	check := func(l *Log) {
		for i := uint64(1); i <= 60; i++ {
			sum, ok, err := l.Checksum(t.Context(), i)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, sums[i], sum)
			got := newMemory()
			require.NoError(t, l.Rebuild(i, got, nil))
			require.Equal(t, states[i], got.latest, "at %d", i)
			got = newMemory()
			require.NoError(t, l.RebuildSegment(i, got, nil))
			require.Equal(t, states[(i+19)/20*20], got.latest, "at the end of the segment of %d", i)
		}
		for _, seq := range []uint64{0, 61} {
			_, ok, err := l.Checksum(t.Context(), seq)
			require.NoError(t, err)
			require.False(t, ok)
		}
		require.Error(t, l.Rebuild(61, newMemory(), nil))
	}
	check(w.Log())
	require.NoError(t, w.Close())
	w, err = s.OpenWriter(newMemory())
	require.NoError(t, err)
	defer w.Close()
	check(w.Log())
}

func TestEachDigest(t *testing.T) {
	s := mustStore(t, t.TempDir(), testOptions(newClock()))
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	var want []*segment.Block
	for range 4 {
		want = append(want, feed(t, w, m, rnd, 10)...)
		require.NoError(t, w.Rotate())
	}
	for _, limit := range []int{0, 1, 10, 15, 40, 100} {
		next := len(want) - 1
		n := 0
		err = w.Log().EachDigest(limit, math.MaxInt, func(d [16]byte, v segment.Verdict, seq uint64) bool {
			require.Equal(t, want[next].Digest, d)
			require.Equal(t, want[next].Verdict, v)
			require.Equal(t, want[next].Sequence, seq)
			next--
			n++
			return n < 35
		})
		require.NoError(t, err)
		require.Equal(t, min(limit, 35), n)
	}
}

// TestEachDigestReadsSoManyErrors, the newest, and all else of the verdicts.
func TestEachDigestReadsSoManyErrors(t *testing.T) {
	s := mustStore(t, t.TempDir(), testOptions(newClock()))
	w, err := s.OpenWriter(newMemory())
	require.NoError(t, err)
	defer w.Close()
	verdict := segment.Verdict{Code: 1, Rejected: 3, Errors: []string{"one", "another"}}
	const blocks, enough = 10, 4
	var last uint64
	for i := range blocks {
		last, err = w.Append(&segment.Block{Digest: [16]byte{byte(i + 1)}, Verdict: verdict})
		require.NoError(t, err)
	}
	require.NoError(t, w.WaitDurable(last))
	with, without := 0, 0
	err = w.Log().EachDigest(blocks, enough*segment.ErrorBytes(verdict.Errors), func(_ [16]byte, v segment.Verdict, _ uint64) bool {
		if len(v.Errors) > 0 {
			with++
			require.Zero(t, without, "the newest have theirs")
			require.Equal(t, verdict, v)
			return true
		}
		without++
		require.Equal(t, verdict.Rejected, v.Rejected)
		return true
	})
	require.NoError(t, err)
	require.Equal(t, enough, with)
	require.Equal(t, blocks-enough, without)
}

func TestReaderWaits(t *testing.T) {
	s := mustStore(t, t.TempDir(), testOptions(newClock()))
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	r, err := w.Log().ReadAfter(0)
	require.NoError(t, err)
	defer r.Close()
	got := make(chan uint64, 1)
	failed := make(chan error, 1)
	go func() {
		for {
			b, err := await(context.Background(), r)
			if err != nil {
				failed <- err
				return
			}
			got <- b.Sequence
		}
	}()
	for i := uint64(1); i <= 5; i++ {
		feed(t, w, m, rnd, 1)
		require.Equal(t, i, <-got)
	}
	require.NoError(t, w.Close())
	require.ErrorIs(t, <-failed, ErrClosed)
}

func TestUnknownReferenceIsRefusedAndHarmless(t *testing.T) {
	s := mustStore(t, t.TempDir(), testOptions(newClock()))
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	want := feed(t, w, m, rnd, 3)
	bad := m.block(rnd, 4)
	bad.Samples.Add(segment.Sample{Ref: 1 << 40})
	var unknown *segment.UnknownRefError
	_, err = w.Append(bad)
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, uint64(1<<40), unknown.Ref)
	want = append(want, feed(t, w, m, rnd, 3)...)
	require.Equal(t, want, read(t, w.Log(), 0))
}

func TestSeveralLogs(t *testing.T) {
	s := mustStore(t, t.TempDir(), testOptions(newClock()))
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	feed(t, w, m, rnd, 3)
	old := w.Log().ID()
	require.NoError(t, w.Close())
	w, err = s.CreateWriter(m)
	require.NoError(t, err)
	id := w.Log().ID()
	require.NotEqual(t, old, id)
	blocks := feed(t, w, m, rnd, 3)
	require.Equal(t, uint64(1), blocks[0].Sequence)
	require.NoError(t, w.Close())
	require.ElementsMatch(t, []segment.LogID{old, id}, s.Logs())
	w, err = s.OpenWriter(newMemory())
	require.NoError(t, err)
	require.Equal(t, id, w.Log().ID(), "the latest one")
	require.NoError(t, w.Close())
}

func noSteps() error { return nil }

// A reader says before each frame that it is about to decode one, and nothing of
// what is in memory.
func TestReaderSteps(t *testing.T) {
	o := testOptions(newClock())
	o.RingBytes = 1
	s := mustStore(t, t.TempDir(), o)
	m, rnd := newMemory(), newRand()
	w, err := s.OpenWriter(m)
	require.NoError(t, err)
	defer w.Close()
	const blocks = 20
	feed(t, w, m, rnd, blocks)
	enough := errors.New("enough")
	for most := 1; ; most++ {
		r, err := w.Log().ReadAfter(blocks - 1)
		require.NoError(t, err)
		steps := 0
		b, err := r.Next(func() error {
			if steps++; steps > most {
				return enough
			}
			return nil
		})
		require.NoError(t, r.Close())
		if most <= blocks { // There is a keyframe, too.
			require.ErrorIs(t, err, enough)
			require.Nil(t, b)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, uint64(blocks), b.Sequence)
		require.Equal(t, blocks+1, steps)
		break
	}
	r, err := w.Log().ReadAfter(blocks)
	require.NoError(t, err)
	defer r.Close()
	_, err = r.Next(func() error { return enough })
	require.NoError(t, err, "there is nothing to decode")
}
