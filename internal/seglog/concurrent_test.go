package seglog

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// One appender, many waiters, followers of writer and mirror, rotation and
// retention, all at the same time.
func TestConcurrentAppendReadRotateRetain(t *testing.T) {
	const blocks = 600
	wo, ro := testOptions(nil), testOptions(nil)
	wo.SegmentSize, wo.RetentionSize = 64<<10, 400<<10
	ro.SegmentSize, ro.RingBytes = 64<<10, 64<<10
	ws, rs := mustStore(t, t.TempDir(), wo), mustStore(t, t.TempDir(), ro)
	wm, rm := newMemory(), newMemory()
	w, err := ws.OpenWriter(wm)
	require.NoError(t, err)
	r, err := rs.OpenMirror(w.Log().ID(), rm)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	var all sync.WaitGroup
	all.Go(func() { replicate(ctx, t, w.Log(), r, blocks) })
	for i := range 6 {
		l := w.Log()
		if i%2 == 0 {
			l = r.Log()
		}
		all.Go(func() { follow(ctx, t, l, blocks, i) })
	}
	all.Go(func() {
		for w.Log().Last() < blocks && ctx.Err() == nil {
			ws.retain()
			w.Log().Segments()
			_, _, _ = w.Log().Checksum(t.Context(), w.Log().First())
			err := w.Log().EachDigest(50, math.MaxInt, func([16]byte, segment.Verdict, uint64) bool { return true })
			if err != nil {
				t.Error(err)
			}
			runtime.Gosched()
		}
	})
	rnd := newRand()
	for i := range blocks {
		b := wm.block(rnd, 50)
		seq, err := w.Append(b)
		require.NoError(t, err)
		require.NoError(t, wm.ApplyBlock(b))
		all.Go(func() {
			if err := w.WaitDurable(seq); err != nil {
				t.Error(err)
			}
		})
		if i%200 == 199 {
			require.NoError(t, w.Rotate())
		}
	}
	all.Wait()
	require.Equal(t, wm.latest, rm.latest)
	require.NoError(t, w.Close())
	require.NoError(t, r.Close())
}

// A wait that meets the end of the writer tells the truth: the block is durable,
// or the log was closed before.
func TestWaitWhileClosing(t *testing.T) {
	m, rnd := newMemory(), newRand()
	for range 20 {
		s := mustStore(t, t.TempDir(), testOptions(nil))
		w, err := s.OpenWriter(m)
		require.NoError(t, err)
		seq, err := w.Append(m.block(rnd, 3))
		require.NoError(t, err)
		var waiting sync.WaitGroup
		for range 4 {
			waiting.Go(func() {
				if err := w.WaitDurable(seq); err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
			})
		}
		require.NoError(t, w.Close())
		waiting.Wait()
		m = newMemory()
	}
}

func replicate(ctx context.Context, t *testing.T, from *Log, to *Mirror, last uint64) {
	raw, err := from.ReadRaw(t.Context(), 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer raw.Close()
	for to.Log().Last() < last {
		c, err := raw.Next(ctx)
		var gap *GapError
		if errors.As(err, &gap) {
			continue
		}
		if err == nil && c.Start {
			err = to.StartSegment(c.SegmentName, c.FirstSequence)
		}
		if err == nil {
			err = to.Append(c.Offset, c.Data)
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// follow checks that a reader gets every block but those of the gaps that it is
// told, once and in order.
func follow(ctx context.Context, t *testing.T, l *Log, last uint64, pace int) {
	r, err := l.ReadAfter(0)
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	for next := uint64(1); next <= last; {
		b, err := await(ctx, r)
		var gap *GapError
		switch {
		case errors.As(err, &gap) && gap.After+1 == next && gap.Next > next && gap.Cause == nil:
			next = gap.Next
		case err != nil:
			t.Errorf("at %d: %v", next, err)
			return
		case b.Sequence != next:
			t.Errorf("block %d, want %d", b.Sequence, next)
			return
		default:
			next++
		}
		if pace > 3 && next%50 == 0 {
			time.Sleep(time.Duration(pace) * time.Millisecond)
		}
	}
}
