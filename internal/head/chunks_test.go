package head_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// written encodes a keyframe as a segment does, gives it to other heads, and
// returns the size of the largest chunk.
func written(t *testing.T, from *head.Head, to ...*head.Head) int {
	t.Helper()
	e, d := segment.NewEncoder(), segment.NewDecoder()
	file := e.StartSegment(nil, segment.Header{LogID: segment.NewLogID(), FirstSequence: from.Sequence() + 1})
	if _, err := d.StartSegment(file); err != nil {
		t.Fatal(err)
	}
	largest := 0
	err := from.Keyframe(func(k *segment.Keyframe) error {
		frame, err := e.AppendKeyframe(nil, k, 1, 0)
		if err != nil {
			return err
		}
		h, err := segment.ParseFrameHeader(frame)
		if err != nil {
			return err
		}
		largest = max(largest, int(h.RawLen))
		var got segment.Keyframe
		if err := d.Keyframe(&h, frame[segment.FrameHeaderSize:], &got); err != nil {
			return err
		}
		for _, h := range to {
			if err := h.ApplyKeyframe(&got); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return largest
}

// TestKeyframeOfMuch writes keyframes of states that are far larger than a frame:
// in whatever they are large, each chunk is small.
func TestKeyframeOfMuch(t *testing.T) {
	const mebi = 1 << 20
	text := func(i, n int) string { return fmt.Sprint(i) + strings.Repeat("x", n) }
	for _, test := range []struct {
		name  string
		n     int
		entry func(b *segment.Block, i int)
	}{
		{"metadata", 60, func(b *segment.Block, i int) {
			b.Metadata = []segment.Metadata{{Family: fmt.Sprint("f", i), Help: text(i, mebi)}}
		}},
		{"labels", 60, func(b *segment.Block, i int) {
			b.Series = segment.TableOf(series(uint64(i+1), "a", text(i, mebi)))
		}},
		{"histograms", 60, func(b *segment.Block, i int) {
			b.Series = segment.TableOf(series(uint64(i+1), "a", text(i, 1)))
			b.Histograms = []segment.Histogram{{Ref: uint64(i + 1), Timestamp: 1, Data: make([]byte, mebi)}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, fresh, replica := head.New(), head.New(), head.New()
			for i := range test.n {
				b := &segment.Block{Sequence: uint64(i + 1), Time: 1}
				test.entry(b, i)
				apply(t, h, b)
				apply(t, replica, b)
			}
			if largest := written(t, h, fresh, replica); largest > segment.MaxPayload/4 {
				t.Errorf("a chunk is of %d bytes", largest)
			}
			for name, other := range map[string]*head.Head{"fresh": fresh, "replica": replica} {
				if diff := cmp.Diff(contentOf(h), contentOf(other)); diff != "" {
					t.Errorf("%s differs in %d bytes", name, len(diff))
				}
			}
		})
	}
}

// TestWhatNoFrameHolds leaves out of a keyframe what is too large for any frame, a
// series of which labels and histogram came in two blocks, and no more than that.
func TestWhatNoFrameHolds(t *testing.T) {
	part := strings.Repeat("x", segment.MaxPayload/2)
	h := head.New()
	replica := head.New()
	for _, b := range []*segment.Block{
		{Sequence: 1, Series: segment.TableOf(series(1, "a", "1"), series(2, "a", part), series(3, "a", "3"), series(4, "b", part))},
		{Sequence: 2, Histograms: []segment.Histogram{{Ref: 2, Timestamp: 1, Data: []byte(part)}}},
		{Sequence: 3, Metadata: []segment.Metadata{{Family: "long", Help: part + part[1000:]}, {Family: "short"}}},
	} {
		apply(t, h, b)
		apply(t, replica, b)
	}
	fresh := head.New()
	written(t, h, replica, fresh)
	for name, h := range map[string]*head.Head{"writer": h, "replica": replica, "fresh": fresh} {
		for ref, want := range map[uint64]bool{1: true, 2: false, 3: true, 4: true} {
			if _, ok := h.Latest(ref); ok != want {
				t.Errorf("%s has series %d: %v", name, ref, ok)
			}
		}
		if h.HasMetadata("long") || !h.HasMetadata("short") {
			t.Errorf("%s has metadata of %d families", name, len(h.Metadata()))
		}
	}
}

// TestIdleMetadata drops the metadata that the owner of the log does not want any
// more, at each replica by what the keyframe leaves out.
func TestIdleMetadata(t *testing.T) {
	h, replica, behind := head.New(), head.New(), head.New()
	b := &segment.Block{
		Sequence: 1, Time: 100,
		Series:   segment.TableOf(series(1, "__name__", "idle"), series(2, "a", "b", "__name__", "busy")),
		Metadata: []segment.Metadata{{Family: "idle"}, {Family: "busy"}, {Family: "kept"}, {Family: "none"}},
	}
	late := &segment.Block{Sequence: 2, Time: 200, Samples: floats([]uint64{2}, 200, 1)}
	apply(t, h, b, late)
	apply(t, replica, b, late)
	apply(t, behind, b)
	h.Expire(150, func(m segment.Metadata, live func(string) bool) bool { return m.Family == "kept" || live(m.Family) })
	written(t, h, replica, behind)
	for name, h := range map[string]*head.Head{"writer": h, "replica": replica, "one at an earlier block": behind} {
		if diff := cmp.Diff([]segment.Metadata{{Family: "busy"}, {Family: "kept"}}, h.Metadata()); diff != "" {
			t.Errorf("%s, want -, got +:\n%s", name, diff)
		}
	}
	// The next keyframe, for which nothing was marked, keeps all.
	written(t, h, replica)
	if n := len(replica.Metadata()); n != 2 {
		t.Errorf("metadata of %d families after another keyframe", n)
	}
	// One that was cut off leaves nothing.
	cut := &segment.Keyframe{Sequence: 2, NextRef: 3, Metadata: []segment.Metadata{{Family: "ghost"}}}
	if err := replica.ApplyKeyframe(cut); err != nil {
		t.Fatal(err)
	}
	replica.RestartKeyframe()
	written(t, h, replica)
	if replica.HasMetadata("ghost") {
		t.Error("a keyframe that was cut off left metadata")
	}
}
