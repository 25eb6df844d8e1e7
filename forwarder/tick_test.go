package forwarder

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// What is evaluated as of a time needs blocks whose times never go back, whatever the
// machine's clock does, while the forwarder runs and while it does not.
func TestTimeNeverGoesBack(t *testing.T) {
	c := testConfig(t.TempDir())
	c.SegmentSize = 1 // which makes a keyframe now and then
	var ahead atomic.Int64
	sent := int64(0)
	run := func(offsets ...time.Duration) []*segment.Block {
		r := start(t, c, func(f *Forwarder) {
			f.appender.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
		defer r.stop()
		s := r.sender()
		for _, offset := range offsets {
			sent++
			ahead.Store(int64(offset))
			s.mustStore(v1, bodyOf(t, v1, one(float64(sent), sent, "__name__", "x")))
		}
		return r.blocks()
	}
	run(time.Hour, -time.Hour, 2*time.Hour, 0)
	run() // of which nothing is left but a keyframe, if it rotates
	blocks := run(-2*time.Hour, time.Hour, 3*time.Hour, 0)
	if len(blocks) != 8 {
		t.Fatalf("%d blocks", len(blocks))
	}
	if !slices.IsSortedFunc(blocks, func(a, b *segment.Block) int { return int(a.Time - b.Time) }) {
		for _, b := range blocks {
			t.Errorf("block %d is of %v", b.Sequence, time.UnixMilli(b.Time))
		}
	}
}

// A log that has nothing to append has empty blocks, whose time goes on, under each way of
// syncing. Requests are told apart as before.
func TestTicks(t *testing.T) {
	for _, sync := range []string{"always", "interval", "never"} {
		t.Run(sync, func(t *testing.T) {
			c := testConfig(t.TempDir())
			c.Sync, c.Tick = sync, 5*time.Millisecond
			r := start(t, c)
			s := r.sender()
			ticked := func(n uint64) {
				l, _ := r.appender.log()
				from := l.Last()
				eventually(t, "blocks while nobody sends", func() bool { return l.Last() >= from+n })
			}
			ticked(3)
			body := bodyOf(t, v1, one(1, 5, "__name__", "x"))
			s.mustStore(v1, body)
			ticked(3)
			s.mustStore(v1, body)
			ticked(3)
			r.stop()

			r = start(t, c)
			r.sender().mustStore(v1, body)
			samples := 0
			var last *segment.Block
			for _, b := range r.blocks() {
				samples += b.Samples.Len()
				if empty := b.Samples.Len() == 0; empty != (b.Digest == [16]byte{}) || empty && b.Verdict.Samples != 0 {
					t.Errorf("block %d: %+v", b.Sequence, b)
				}
				if last != nil && b.Time < last.Time {
					t.Errorf("block %d is of %d, the one before of %d", b.Sequence, b.Time, last.Time)
				}
				last = b
			}
			if samples != 1 {
				t.Errorf("%d samples are in the log", samples)
			}
		})
	}
}

// While blocks come by themselves, none is added.
func TestNoTicksWhileBusy(t *testing.T) {
	at := time.Now()
	ticks := newTicks(time.Minute)
	defer ticks.stop()
	if !ticks.now(at) {
		t.Error("nothing was appended, and no block is due")
	}
	ticks.appended(at)
	for after, due := range map[time.Duration]bool{
		0: false, time.Minute - 1: false, time.Minute: true, time.Hour: true, -time.Second: false, -time.Hour: true,
	} {
		if ticks.now(at.Add(after)) != due {
			t.Errorf("%s after a block: due is %v", after, !due)
		}
	}
	off := newTicks(0)
	off.stop()
	if off.due != nil {
		t.Error("there are ticks without an interval")
	}
}
