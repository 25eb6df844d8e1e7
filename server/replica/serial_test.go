package replica

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/window"
)

// BenchmarkSerial measures what one goroutine alone does of a log: it takes the bytes of
// blocks in, one after another. No number of processors makes a server faster at one log.
// It reports nanoseconds of CPU for a sample of a known series.
func BenchmarkSerial(b *testing.B) {
	runtime.LockOSThread() // whose clock is read
	defer runtime.UnlockOSThread()
	o := seglog.DefaultOptions()
	o.RetentionTime, o.Sync = 0, seglog.SyncNever
	store := func() *seglog.Store {
		s, err := seglog.OpenStore(b.TempDir(), o)
		require.NoError(b, err)
		b.Cleanup(func() { _ = s.Close() })
		return s
	}
	scrapes := newScrapes(b, store())
	windows := window.NewMemory(window.Options{Span: 15 * time.Minute, Bytes: 1 << 30})
	r, err := openReplica(store(), scrapes.writer.Log().ID(), new(health), windows.New())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, r.close()) })

	take := func() (cpu time.Duration) {
		for _, c := range scrapes.next() {
			began := threadCPU()
			if c.Start {
				require.NoError(b, r.StartSegment(c.SegmentName, c.FirstSequence))
			}
			if err := r.Append(c.Offset, c.Data); err != nil {
				b.Fatal(err)
			}
			cpu += threadCPU() - began
		}
		return cpu
	}
	take() // the series are new
	var serial time.Duration
	for b.Loop() {
		serial += take()
	}
	require.Equal(b, serialSeries, r.Head.Len())
	require.Equal(b, scrapes.last, r.Log.Last())
	b.ReportMetric(float64(serial.Nanoseconds())/float64(b.N)/serialSeries, "serial-ns/sample")
}

const (
	serialSeries = 100_000
	serialBlock  = 2000 // samples of a request
)

// scrapes is a log that gets a sample of each of many series at a time.
type scrapes struct {
	b      *testing.B
	head   *head.Head
	writer *seglog.Writer
	raw    *seglog.RawReader
	last   uint64 // block
	round  int64
	pieces []seglog.RawChunk
}

func newScrapes(b *testing.B, store *seglog.Store) *scrapes {
	b.Helper()
	s := &scrapes{b: b, head: head.New()}
	var err error
	s.writer, err = store.CreateWriter(s.head)
	require.NoError(b, err)
	b.Cleanup(func() { _ = s.writer.Close() })
	s.raw, err = s.writer.Log().ReadRaw(b.Context(), 0)
	require.NoError(b, err)
	s.raw.Awaited = func() bool { return true } // without a pause after small pieces
	b.Cleanup(func() { _ = s.raw.Close() })
	return s
}

// next writes a sample of each series, and returns the log's bytes, block by block. They
// are valid until the next call.
func (s *scrapes) next() []seglog.RawChunk {
	s.b.Helper()
	s.round++
	s.pieces = s.pieces[:0]
	at := int64(1_700_000_000_000) + 15_000*s.round
	for first := uint64(1); first <= serialSeries; first += serialBlock {
		block := &segment.Block{Time: at + int64(first)/10}
		var added []segment.Series
		for ref := first; ref < first+serialBlock; ref++ {
			if s.round == 1 {
				added = append(added, segment.Series{Ref: ref, Labels: segment.Labels{{Name: "__name__", Value: "m"}, {Name: "i", Value: fmt.Sprint(ref)}}})
			}
			block.Samples.Add(segment.Sample{Ref: ref, Timestamp: at, Value: float64(int64(ref)*3 + s.round*int64(ref%9))})
		}
		block.Series = segment.TableOf(added...)
		var err error
		s.last, err = s.writer.Append(block)
		require.NoError(s.b, err)
		require.NoError(s.b, s.head.ApplyBlock(block))
		s.readUntil(s.last)
	}
	return s.pieces
}

// readUntil reads the log's bytes up to a block.
func (s *scrapes) readUntil(last uint64) {
	s.b.Helper()
	require.NoError(s.b, s.writer.WaitDurable(last))
	for {
		c, err := s.raw.Next(context.Background())
		require.NoError(s.b, err)
		c.Data = bytes.Clone(c.Data)
		s.pieces = append(s.pieces, c)
		if c.LastSequence >= last {
			return
		}
	}
}

// threadCPU is the CPU time that this thread has used.
func threadCPU() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // no system is without it
	return time.Duration(t.Nano())
}
