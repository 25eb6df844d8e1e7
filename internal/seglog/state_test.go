package seglog

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// memory is the state of a log in the simplest form.
type memory struct {
	next   uint64
	series map[uint64]segment.Labels
	latest map[uint64]segment.Latest
	blocks []uint64 // sequences applied
	open   bool     // a keyframe is under way
}

func newMemory() *memory {
	return &memory{next: 1, series: map[uint64]segment.Labels{}, latest: map[uint64]segment.Latest{}}
}

func (m *memory) Keyframe(yield func(*segment.Keyframe) error) error {
	k := &segment.Keyframe{NextRef: m.next, Last: true}
	var series []segment.Series
	for _, ref := range slices.Sorted(maps.Keys(m.series)) {
		series = append(series, segment.Series{Ref: ref, Labels: m.series[ref]})
		k.Latest = append(k.Latest, m.latest[ref])
	}
	k.Series = segment.TableOf(series...)
	return yield(k)
}

func (m *memory) ApplyKeyframe(k *segment.Keyframe) error {
	if !m.open {
		clear(m.series)
		clear(m.latest)
	}
	m.open = !k.Last
	m.next = k.NextRef
	for i, ref := range k.Series.Refs {
		m.series[ref], m.latest[ref] = k.Series.AppendLabels(nil, i), k.Latest[i]
	}
	return nil
}

func (m *memory) ApplyBlock(b *segment.Block) error {
	for i, ref := range b.Series.Refs {
		m.series[ref], m.latest[ref] = b.Series.AppendLabels(nil, i), segment.Latest{None: true}
		m.next = ref + 1
	}
	for s := range b.Samples.All() {
		if m.series[s.Ref] == nil {
			return fmt.Errorf("series %d is not known", s.Ref)
		}
		m.latest[s.Ref] = segment.Latest{Timestamp: s.Timestamp, Value: s.Value, Written: b.Time}
	}
	m.blocks = append(m.blocks, b.Sequence)
	return nil
}

// block makes the next block: a few new series, samples of known ones.
func (m *memory) block(rnd *rand.Rand, n int) *segment.Block {
	b := &segment.Block{Time: int64(m.next), Verdict: segment.Verdict{Code: 1, Samples: uint32(n)}}
	for i := range b.Digest {
		b.Digest[i] = byte(rnd.Uint32())
	}
	if rnd.IntN(5) == 0 {
		b.Verdict.Errors = []string{fmt.Sprintf("bad series %d", rnd.Uint32())}
	}
	var series []segment.Series
	for i := range 1 + rnd.IntN(2) {
		series = append(series, segment.Series{Ref: m.next + uint64(i), Labels: segment.Labels{
			{Name: "__name__", Value: "m"}, {Name: "n", Value: fmt.Sprint(m.next + uint64(i))}}})
	}
	b.Series = segment.TableOf(series...)
	top := m.next + uint64(b.Series.Len()) - 1
	for range n {
		b.Samples.Add(segment.Sample{
			Ref: 1 + rnd.Uint64N(top), Timestamp: 1000*int64(m.next) + int64(rnd.IntN(1000)), Value: math.Round(rnd.Float64()*1000) / 8,
		})
	}
	return b
}

// clock stands still until it is moved.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Date(2026, 11, 23, 0, 42, 13, 123e6, time.UTC)} }

func testOptions(c *clock) Options {
	o := Options{Logger: slog.New(slog.DiscardHandler)}
	if c != nil {
		o.Now = c.now
	}
	return o
}

func mustStore(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := OpenStore(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// feed appends n blocks, each durable, and returns what readers have to see.
func feed(t testing.TB, w *Writer, m *memory, rnd *rand.Rand, n int) []*segment.Block {
	t.Helper()
	var out []*segment.Block
	for range n {
		b := m.block(rnd, 8)
		seq, err := w.Append(b)
		require.NoError(t, err)
		require.Equal(t, seq, b.Sequence)
		require.NoError(t, m.ApplyBlock(b))
		require.NoError(t, w.WaitDurable(seq))
		out = append(out, b.Detach())
	}
	return out
}

// read returns all that a log has after a sequence.
func read(t testing.TB, l *Log, after uint64) []*segment.Block {
	t.Helper()
	r, err := l.ReadAfter(after)
	require.NoError(t, err)
	defer r.Close()
	var out []*segment.Block
	for {
		b, err := r.Next(noSteps)
		require.NoError(t, err)
		if b == nil {
			return out
		}
		out = append(out, b)
	}
}

// await returns the next block of a reader, and waits for it at the tail.
func await(ctx context.Context, r *Reader) (*segment.Block, error) {
	for {
		changed := r.log.changed()
		if b, err := r.Next(ctx.Err); b != nil || err != nil {
			return b, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func sequences(bs []*segment.Block) []uint64 {
	var out []uint64
	for _, b := range bs {
		out = append(out, b.Sequence)
	}
	return out
}

func span(from, to uint64) []uint64 {
	var out []uint64
	for ; from <= to; from++ {
		out = append(out, from)
	}
	return out
}

func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+nameExt))
	require.NoError(t, err)
	return files
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return b
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(7, 11)) }
