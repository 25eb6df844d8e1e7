package seglog

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// ship copies what a mirror lacks, as the link would, until the tail.
func ship(t testing.TB, from *Log, to *Mirror) (gaps []GapError) {
	t.Helper()
	seq, _, _ := to.Position()
	raw, err := from.ReadRaw(t.Context(), seq)
	require.NoError(t, err)
	defer raw.Close()
	for {
		c, err := raw.poll()
		var gap *GapError
		if errors.As(err, &gap) {
			gaps = append(gaps, *gap)
			continue
		}
		require.NoError(t, err)
		if len(c.Data) == 0 {
			return gaps
		}
		if c.Start {
			require.NoError(t, to.StartSegment(c.SegmentName, c.FirstSequence))
		}
		require.NoError(t, to.Append(c.Offset, c.Data))
	}
}

// pair is a writer and a mirror of its log.
type pair struct {
	t          *testing.T
	c          *clock
	ws, rs     *Store
	wdir, rdir string
	w          *Writer
	r          *Mirror
	wm, rm     *memory
	rnd        *rand.Rand
	want       []*segment.Block
}

func newPair(t *testing.T) *pair {
	p := &pair{t: t, c: newClock(), wm: newMemory(), rm: newMemory(), rnd: newRand()}
	wo, ro := testOptions(p.c), testOptions(p.c)
	ro.RingBytes = 8 << 10 // so that readers change between memory and files
	a, b := t.TempDir(), t.TempDir()
	p.ws, p.rs = mustStore(t, a, wo), mustStore(t, b, ro)
	var err error
	p.w, err = p.ws.OpenWriter(p.wm)
	require.NoError(t, err)
	p.r, err = p.rs.OpenMirror(p.w.Log().ID(), p.rm)
	require.NoError(t, err)
	p.wdir, p.rdir = filepath.Join(a, p.w.Log().ID().String()), filepath.Join(b, p.w.Log().ID().String())
	t.Cleanup(func() {
		_ = p.w.Close()
		_ = p.r.Close()
	})
	return p
}

func (p *pair) feed(n int) { p.want = append(p.want, feed(p.t, p.w, p.wm, p.rnd, n)...) }

func (p *pair) reopenMirror() {
	p.t.Helper()
	require.NoError(p.t, p.r.Close())
	p.rm = newMemory()
	var err error
	p.r, err = p.rs.OpenMirror(p.w.Log().ID(), p.rm)
	require.NoError(p.t, err)
}

// equal checks that the files and the states are the same.
func (p *pair) equal() {
	p.t.Helper()
	ours, theirs := segmentFiles(p.t, p.wdir), segmentFiles(p.t, p.rdir)
	require.Len(p.t, theirs, len(ours))
	for i := range ours {
		require.Equal(p.t, filepath.Base(ours[i]), filepath.Base(theirs[i]))
		require.Equal(p.t, readFile(p.t, ours[i]), readFile(p.t, theirs[i]))
	}
	require.Equal(p.t, p.wm.latest, p.rm.latest)
	require.Equal(p.t, p.wm.series, p.rm.series)
	first := p.r.Log().First()
	require.Equal(p.t, p.want[first-1:], read(p.t, p.r.Log(), first-1))
	a, err := os.Readlink(filepath.Join(p.wdir, latestName))
	require.NoError(p.t, err)
	b, err := os.Readlink(filepath.Join(p.rdir, latestName))
	require.NoError(p.t, err)
	require.Equal(p.t, a, b)
}

func TestMirrorFollows(t *testing.T) {
	p := newPair(t)
	_, _, ok := p.r.Position()
	require.False(t, ok)
	for range 4 {
		p.feed(30)
		ship(t, p.w.Log(), p.r)
		p.equal()
		seq, sum, ok := p.r.Position()
		require.True(t, ok)
		want, _, err := p.w.Log().Checksum(t.Context(), seq)
		require.NoError(t, err)
		require.Equal(t, want, sum)
		require.NoError(t, p.w.Rotate())
	}
	ship(t, p.w.Log(), p.r)
	p.equal()
}

func TestMirrorRestartsAnywhere(t *testing.T) {
	p := newPair(t)
	for i := range 40 {
		p.feed(1 + i%3)
		if i%7 == 3 {
			require.NoError(t, p.w.Rotate())
		}
		if i%2 == 0 {
			ship(t, p.w.Log(), p.r)
		}
		if i%3 == 0 {
			p.reopenMirror()
		}
	}
	ship(t, p.w.Log(), p.r)
	p.equal()
	p.reopenMirror()
	p.equal()
}

// A connection that ends in any place, with the mirror left running or not.
func TestMirrorCutAtEveryFrame(t *testing.T) {
	p := newPair(t)
	p.feed(4)
	require.NoError(t, p.w.Rotate())
	p.feed(4)
	require.NoError(t, p.w.Rotate())
	p.feed(4)
	for _, restart := range []bool{false, true} {
		for stop := 1; ; stop++ {
			require.NoError(t, p.r.Close())
			require.NoError(t, os.RemoveAll(p.rdir))
			p.rm = newMemory()
			var err error
			p.r, err = p.rs.OpenMirror(p.w.Log().ID(), p.rm)
			require.NoError(t, err)
			if sent := shipFrames(t, p.w.Log(), p.r, stop); sent < stop {
				break
			}
			if restart {
				p.reopenMirror()
			}
			ship(t, p.w.Log(), p.r)
			p.equal()
		}
	}
}

// shipFrames ships frame by frame until it has sent n.
func shipFrames(t *testing.T, from *Log, to *Mirror, n int) (sent int) {
	raw, err := from.ReadRaw(t.Context(), 0)
	require.NoError(t, err)
	defer raw.Close()
	for {
		c, err := raw.poll()
		require.NoError(t, err)
		if len(c.Data) == 0 {
			return sent
		}
		if c.Start {
			require.NoError(t, to.StartSegment(c.SegmentName, c.FirstSequence))
		}
		for off := 0; off < len(c.Data); {
			if sent == n {
				return sent
			}
			sent++
			size := segment.HeaderSize
			if off > 0 || !c.Start {
				h, err := segment.ParseFrameHeader(c.Data[off:])
				require.NoError(t, err)
				size = int(h.Len())
			}
			require.NoError(t, to.Append(c.Offset+uint64(off), c.Data[off:off+size]))
			off += size
		}
	}
}

func TestMirrorAfterRetention(t *testing.T) {
	p := newPair(t)
	p.feed(5)
	ship(t, p.w.Log(), p.r)
	for range 3 {
		p.c.t = p.c.t.Add(time.Hour)
		p.feed(5)
	}
	p.ws.o.RetentionTime = time.Minute
	p.ws.retain()
	require.Equal(t, uint64(11), p.w.Log().First())
	gaps := ship(t, p.w.Log(), p.r)
	require.Equal(t, []GapError{{After: 5, Next: 11}}, gaps)

	r, err := p.r.Log().ReadAfter(0)
	require.NoError(t, err)
	defer r.Close()
	for range 5 {
		_, err := r.Next(noSteps)
		require.NoError(t, err)
	}
	_, err = r.Next(noSteps)
	var gap *GapError
	require.ErrorAs(t, err, &gap)
	require.Equal(t, GapError{After: 5, Next: 11}, *gap)
	for seq := uint64(11); seq <= 20; seq++ {
		b, err := r.Next(noSteps)
		require.NoError(t, err)
		require.Equal(t, p.want[seq-1], b)
	}
	require.Equal(t, p.wm.latest, p.rm.latest)
}

func TestMirrorRefuses(t *testing.T) {
	p := newPair(t)
	p.feed(5)
	raw, err := p.w.Log().ReadRaw(t.Context(), 0)
	require.NoError(t, err)
	defer raw.Close()
	c, err := raw.Next(context.Background())
	require.NoError(t, err)

	require.ErrorIs(t, p.r.Append(0, c.Data), ErrMismatch, "no segment")
	for _, name := range []string{"", "x.seg", "../" + c.SegmentName, "20261123T004213.123Z-00000000000000000002.seg"} {
		require.ErrorIs(t, p.r.StartSegment(name, 1), ErrMismatch, name)
	}
	require.NoError(t, p.r.StartSegment(c.SegmentName, 1))
	require.ErrorIs(t, p.r.Append(7, c.Data), ErrMismatch, "a hole")
	require.ErrorIs(t, p.r.Append(0, c.Data[:len(c.Data)-1]), ErrMismatch, "half a frame")
	for i := 0; i < len(c.Data); i += 13 {
		bad := append([]byte(nil), c.Data...)
		bad[i] ^= 4
		require.ErrorIs(t, p.r.Append(0, bad), ErrMismatch, "byte %d", i)
	}
	require.NoError(t, p.r.Append(0, c.Data))
	require.NoError(t, p.r.Append(0, c.Data), "again")
	bad := append([]byte(nil), c.Data...)
	bad[len(bad)-1] ^= 1
	require.ErrorIs(t, p.r.Append(0, bad), ErrMismatch, "diverged")
	require.ErrorIs(t, p.r.StartSegment(c.SegmentName, 1), ErrMismatch, "blocks are not thrown away")
	require.Error(t, func() error { _, err := p.r.Log().ReadRaw(t.Context(), 6); return err }())
	p.equal()
}

func TestReaderBetweenMemoryAndFiles(t *testing.T) {
	p := newPair(t)
	slow, err := p.r.Log().ReadAfter(0)
	require.NoError(t, err)
	defer slow.Close()
	quick, err := p.r.Log().ReadAfter(0)
	require.NoError(t, err)
	defer quick.Close()
	var got []*segment.Block
	files, memory := 0, 0
	for i := range 60 {
		p.feed(5)
		if i%20 == 19 {
			require.NoError(t, p.w.Rotate())
		}
		ship(t, p.w.Log(), p.r)
		for range 5 {
			b, err := quick.Next(noSteps)
			require.NoError(t, err)
			require.Equal(t, p.want[b.Sequence-1], b)
			require.Nil(t, quick.file, "one that keeps up reads no file")
		}
		if i < 30 {
			continue
		}
		for range 10 {
			b, err := slow.Next(noSteps)
			require.NoError(t, err)
			if b == nil {
				break
			}
			got = append(got, b)
			if slow.file != nil {
				files++
			} else {
				memory++
			}
		}
	}
	require.Equal(t, span(1, 300), sequences(got))
	require.Equal(t, p.want, got)
	require.Greater(t, files, 100)
	require.Greater(t, memory, 5)
}

// The newest segment is gone, as its keyframe is torn, and the one before is cut: what
// was known of that one, when it was among the older ones, holds no more.
func TestMirrorCutsAnOlderSegment(t *testing.T) {
	for name, footer := range map[string]bool{"with a footer": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.feed(4)
			require.NoError(t, p.w.Rotate())
			p.feed(4)
			ship(t, p.w.Log(), p.r)
			require.NoError(t, p.r.Close())
			segments := segmentFiles(t, p.rdir)
			require.NoError(t, os.Truncate(segments[1], segment.HeaderSize+1))
			b := readFile(t, segments[0])
			end := len(b) - segment.FrameHeaderSize
			b[bytes.LastIndex(b[:end], []byte(segment.FrameMagic))+8] ^= 1 // in the header of the last block
			if !footer {
				b = b[:end]
			}
			require.NoError(t, os.WriteFile(segments[0], b, 0o644))
			var err error
			p.rm = newMemory()
			p.r, err = p.rs.OpenMirror(p.w.Log().ID(), p.rm)
			require.NoError(t, err)
			infos := p.r.Log().Segments()
			require.Len(t, infos, 1)
			require.EqualValues(t, 3, infos[0].LastSequence)
			require.False(t, infos[0].Sealed, "the footer was cut off")
			require.NoError(t, infos[0].Err, "the bad frame was cut off")
			ship(t, p.w.Log(), p.r)
			p.equal()
		})
	}
}
