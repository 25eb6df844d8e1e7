package replica

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/window"
)

// scraped is a log with a block a second, in which each of some series has a sample that
// says which block it is in.
type scraped struct {
	t      *testing.T
	dir    string
	store  *seglog.Store
	head   *head.Head
	writer *seglog.Writer
	last   int64
}

const (
	scrapedSeries = 3
	scrapedStart  = 1_700_000_000_000
	scrapedLag    = 700 // ms, which counts as a second
)

func newScraped(t *testing.T) *scraped {
	t.Helper()
	s := &scraped{t: t, dir: t.TempDir(), head: head.New()}
	o := seglog.DefaultOptions()
	o.RetentionTime, o.Sync = 0, seglog.SyncNever
	o.Now = func() time.Time { return time.UnixMilli(s.at(s.last)) }
	var err error
	s.store, err = seglog.OpenStore(s.dir, o)
	require.NoError(t, err)
	s.writer, err = s.store.CreateWriter(s.head)
	require.NoError(t, err)
	return s
}

// at is when a block was written, in ms.
func (s *scraped) at(block int64) int64 { return scrapedStart + 1000*block }

// scrape writes a number of blocks.
func (s *scraped) scrape(n int) {
	s.t.Helper()
	for range n {
		s.last++
		b := &segment.Block{Time: s.at(s.last) + scrapedLag}
		var series []segment.Series
		for ref := uint64(1); ref <= scrapedSeries; ref++ {
			if s.last == 1 {
				series = append(series, segment.Series{Ref: ref, Labels: segment.Labels{{Name: "n", Value: string('a' + rune(ref))}}})
			}
			b.Samples.Add(segment.Sample{Ref: ref, Timestamp: s.at(s.last), Value: float64(s.last)})
		}
		b.Exemplars = append(b.Exemplars, segment.Exemplar{Ref: 1, Data: []byte{byte(s.last)}})
		b.Series = segment.TableOf(series...)
		_, err := s.writer.Append(b)
		require.NoError(s.t, err)
		require.NoError(s.t, s.head.ApplyBlock(b))
	}
}

func (s *scraped) rotate() {
	s.t.Helper()
	require.NoError(s.t, s.writer.Rotate())
}

func (s *scraped) close() {
	s.t.Helper()
	require.NoError(s.t, s.writer.Close())
	require.NoError(s.t, s.store.Close())
}

// open opens the log as a server does, with a window of some blocks, and returns a view
// once it has come to a floor.
func (s *scraped) open(blocks, floor int64) *window.View {
	s.t.Helper()
	store, err := seglog.OpenStore(s.dir, seglog.Options{})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, store.Close()) })
	logger := slog.New(slog.DiscardHandler)
	windows := window.NewMemory(window.Options{Span: time.Duration(blocks) * time.Second, Bytes: 1 << 30, Logger: logger})
	rs, err := Open(store, windows, logger)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, rs.Close()) })
	r := rs.All()[0]
	r.filling.done.Wait()
	assert.Equal(s.t, floor, r.Window.Stats().Floor)
	return r.Window.View()
}

// check compares what a view has of a series with the blocks that were written, from one
// on.
func (s *scraped) check(v *window.View, ref uint64, first int64) {
	s.t.Helper()
	block := first
	for _, c := range v.Reader(s.at(first), math.MaxInt64).Chunks(ref, nil) {
		it := c.Data.Iterator(nil)
		for kind := it.Seek(s.at(first)); kind != chunkenc.ValNone; kind = it.Next() {
			at, value := it.At()
			require.Equal(s.t, s.at(block), at)
			require.EqualValues(s.t, block, value)
			block++
		}
		require.NoError(s.t, it.Err())
		for _, lag := range c.Lags {
			require.EqualValues(s.t, 1, lag, "how late a sample came")
		}
		require.Len(s.t, c.Lags, c.Data.NumSamples())
	}
	require.Equal(s.t, s.last+1, block, "the first one that is missing")
}

// TestWindowAfterAStart opens logs of which the recent samples are in several segments.
func TestWindowAfterAStart(t *testing.T) {
	const blocks = 100
	t.Run("some in the newest segment", func(t *testing.T) {
		s := newScraped(t)
		for range 6 {
			s.scrape(30)
			s.rotate()
		}
		s.scrape(10)
		s.close()
		v := s.open(blocks, s.at(s.last-blocks)+scrapedLag)
		s.check(v, 1, s.last-blocks+1)
		s.check(v, scrapedSeries, s.last-blocks+1)
		assert.Equal(t, []byte{byte(s.last)}, v.Exemplars(1)[len(v.Exemplars(1))-1])
		assert.Greater(t, len(v.Exemplars(1)), 90)
	})
	t.Run("none in the newest segment", func(t *testing.T) {
		s := newScraped(t)
		s.scrape(150)
		s.rotate()
		s.close()
		s.check(s.open(blocks, s.at(s.last-blocks)+scrapedLag), 1, s.last-blocks+1)
	})
	t.Run("a young log", func(t *testing.T) {
		s := newScraped(t)
		s.scrape(30)
		s.rotate()
		s.scrape(30)
		s.close()
		s.check(s.open(blocks, s.at(s.last-blocks)+scrapedLag), 1, 1)
	})
	t.Run("all in the newest segment", func(t *testing.T) {
		s := newScraped(t)
		s.scrape(30)
		s.rotate()
		s.scrape(150)
		s.close()
		s.check(s.open(blocks, s.at(s.last-blocks)+scrapedLag), 1, s.last-blocks+1)
	})
}

// TestWindowOfALogWithAHole opens a log of which a segment is missing: what came before
// the hole is not relied on.
func TestWindowOfALogWithAHole(t *testing.T) {
	for _, lost := range []int{0, 1} {
		s := newScraped(t)
		for range 3 {
			s.scrape(30)
			s.rotate()
		}
		s.scrape(90)
		s.close()
		files, err := filepath.Glob(filepath.Join(s.dir, "*", "*.seg"))
		require.NoError(t, err)
		require.NoError(t, os.Remove(files[lost]))
		first := int64(30*(lost+1) + 1)
		s.check(s.open(170, s.at(first)+scrapedLag+head.ClockSkew), 1, first+1+head.ClockSkew/1000)
	}
}

// TestWindowOfSeriesThatWereDropped opens a log of which a series was dropped within the
// window's span: the index does not have it any more.
func TestWindowOfSeriesThatWereDropped(t *testing.T) {
	s := newScraped(t)
	s.scrape(30)
	idle := &segment.Block{Time: s.at(s.last)}
	idle.Samples.Add(segment.Sample{Ref: scrapedSeries + 1, Timestamp: s.at(s.last), Value: 1})
	idle.Series = segment.TableOf(segment.Series{Ref: scrapedSeries + 1, Labels: segment.Labels{{Name: "n", Value: "idle"}}})
	_, err := s.writer.Append(idle)
	require.NoError(t, err)
	require.NoError(t, s.head.ApplyBlock(idle))
	dropped := s.at(s.last)
	s.scrape(5)
	s.head.Expire(s.at(s.last-1), func(segment.Metadata, func(string) bool) bool { return true })
	s.rotate()
	s.scrape(5)
	s.close()
	s.check(s.open(100, dropped+1), 1, 31)
}

// The window of a log that was just opened does not claim to have what is in the older
// segments, however far from the future that is, before it is filled.
func TestFutureOfOlderSegments(t *testing.T) {
	s := newScraped(t)
	s.scrape(5)
	ahead := s.at(s.last) + 5*time.Minute.Milliseconds()
	b := &segment.Block{Time: s.at(s.last) + scrapedLag}
	b.Samples.Add(segment.Sample{Ref: 1, Timestamp: ahead, Value: 1})
	_, err := s.writer.Append(b)
	require.NoError(t, err)
	require.NoError(t, s.head.ApplyBlock(b))
	s.rotate()
	s.scrape(1)
	id := s.writer.Log().ID()
	s.close()
	store, err := seglog.OpenStore(s.dir, seglog.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	windows := window.NewMemory(window.Options{Span: time.Hour, Bytes: 1 << 30, Logger: slog.New(slog.DiscardHandler)})
	r, err := openReplica(store, id, new(health), windows.New())
	require.NoError(t, err)
	require.Equal(t, ahead+1, r.Window.Stats().Floor)
	require.NoError(t, r.fillWindow(t.Context()))
	require.Less(t, r.Window.Stats().Floor, s.at(1), "all blocks are in it")
	require.NoError(t, r.close())
}
