package seglog

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// wideChunk is how many series are in a chunk of a keyframe, as in a head.
const wideChunk = 16 << 10

// wide is a state of many series that costs nothing to keep.
type wide struct{ n, applied int }

func (s *wide) Keyframe(yield func(*segment.Keyframe) error) error {
	k := &segment.Keyframe{NextRef: uint64(s.n + 1)}
	var series []segment.Series
	for i := range s.n {
		series = append(series, segment.Series{Ref: uint64(i + 1), Labels: segment.Labels{
			{Name: "__name__", Value: fmt.Sprintf("metric_%d_total", i/2000)},
			{Name: "container", Value: fmt.Sprintf("c%d", i%7)},
			{Name: "instance", Value: fmt.Sprintf("10.1.%d.%d:9100", i/256%256, i%256)},
			{Name: "job", Value: "node"},
			{Name: "namespace", Value: fmt.Sprintf("ns-%d", i%50)},
			{Name: "pod", Value: fmt.Sprintf("app-%d-%x", i%500, i*7919)},
		}})
		k.Latest = append(k.Latest, segment.Latest{Timestamp: 1e12, Written: 1e12, Value: float64(i * 3)})
		if k.Last = i == s.n-1; k.Last || len(series) == wideChunk {
			k.Series = segment.TableOf(series...)
			if err := yield(k); err != nil {
				return err
			}
			series, k.Latest = series[:0], k.Latest[:0]
		}
	}
	return nil
}

func (s *wide) ApplyKeyframe(k *segment.Keyframe) error { s.applied += k.Series.Len(); return nil }
func (s *wide) ApplyBlock(*segment.Block) error         { return nil }

// BenchmarkOpenMillionSeries opens a log whose newest segment has a keyframe of
// a million series and a scrape of all of them.
func BenchmarkOpenMillionSeries(b *testing.B) {
	const n = 1_000_000
	dir := b.TempDir()
	s := mustStore(b, dir, testOptions(nil))
	start := time.Now()
	require.NoError(b, (&wide{n: n}).Keyframe(func(*segment.Keyframe) error { return nil }))
	made := time.Since(start)
	start = time.Now()
	w, err := s.OpenWriter(&wide{n: n})
	require.NoError(b, err)
	b.Logf("keyframe of %d bytes written in %s, of which the state took %s", w.Log().Segments()[0].Size, time.Since(start), made)
	for first := 1; first <= n; first += 2000 {
		x := &segment.Block{}
		for i := range 2000 {
			x.Samples.Add(segment.Sample{Ref: uint64(first + i), Timestamp: 1e12 + 15000, Value: float64((first+i)*3 + i%9)})
		}
		_, err := w.Append(x)
		require.NoError(b, err)
	}
	require.NoError(b, w.WaitDurable(n/2000))
	id := w.Log().ID()
	require.NoError(b, w.Close())
	info, err := os.Stat(filepath.Join(dir, latestName))
	require.NoError(b, err)
	b.Logf("file of %d bytes", info.Size())
	for b.Loop() {
		r, err := s.OpenMirror(id, &wide{})
		require.NoError(b, err)
		require.NoError(b, r.Close())
	}
	start = time.Now()
	st := &wide{n: n}
	w, err = s.OpenWriter(st)
	require.NoError(b, err)
	b.Logf("opened for writing in %s", time.Since(start))
	require.Equal(b, n, st.applied)
	require.NoError(b, w.Close())
}

func BenchmarkAppend(b *testing.B) {
	for _, policy := range []SyncPolicy{SyncAlways, SyncNever} {
		b.Run(policy.String(), func(b *testing.B) {
			o := testOptions(nil)
			o.Sync = policy
			s := mustStore(b, b.TempDir(), o)
			m := newMemory()
			w, err := s.OpenWriter(m)
			require.NoError(b, err)
			defer w.Close()
			feed(b, w, m, newRand(), 100)
			x := &segment.Block{}
			for i := range 2000 {
				x.Samples.Add(segment.Sample{Ref: uint64(1 + i%100), Timestamp: int64(i), Value: float64(i)})
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Append(x); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, w.WaitDurable(x.Sequence))
		})
	}
}
