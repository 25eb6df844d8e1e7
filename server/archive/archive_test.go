package archive

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/buckettest"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/internal/logtest"
	"github.com/promgrpc/exporter/server/replica"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = time.Minute
	interval = 50 * time.Millisecond
)

// forwarder is a log without the forwarder around it.
type forwarder struct {
	t      *testing.T
	dir    string
	writer *seglog.Writer
	head   *head.Head
}

func newForwarder(t *testing.T) *forwarder {
	t.Helper()
	f := &forwarder{t: t, dir: t.TempDir(), head: head.New()}
	store, err := seglog.OpenStore(f.dir, seglog.Options{Sync: seglog.SyncNever})
	require.NoError(t, err)
	f.writer, err = store.CreateWriter(f.head)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.writer.Close())
		require.NoError(t, store.Close())
	})
	return f
}

func (f *forwarder) id() segment.LogID { return f.writer.Log().ID() }

// write appends blocks of a series.
func (f *forwarder) write(n int) {
	f.t.Helper()
	for range n {
		b := &segment.Block{Time: time.Now().UnixMilli()}
		if f.head.NextRef() == 1 {
			b.Series = segment.TableOf(segment.Series{Ref: 1, Labels: segment.Labels{{Name: "a", Value: "b"}}})
		}
		b.Samples.Add(segment.Sample{Ref: 1, Timestamp: time.Now().UnixMilli(), Value: rand.Float64()})
		seq, err := f.writer.Append(b)
		require.NoError(f.t, err)
		b.Sequence = seq
		require.NoError(f.t, f.head.ApplyBlock(b))
		require.NoError(f.t, f.writer.WaitDurable(seq))
	}
}

func (f *forwarder) rotate() { require.NoError(f.t, f.writer.Rotate()) }

func (f *forwarder) last() uint64 { return f.writer.Log().Last() }

// server is what has replicas and an archive.
type server struct {
	*Archive
	t    *testing.T
	dir  string
	logs *logtest.Text
	stop func()
}

func testConfig() Config { return Config{Interval: interval, Bytes: LeastBytes} }

func newServer(t *testing.T, b bucket.Bucket, c Config) *server {
	return openServer(t, t.TempDir(), b, c, seglog.Options{})
}

func openServer(t *testing.T, dir string, b bucket.Bucket, c Config, o seglog.Options) *server {
	t.Helper()
	s := &server{t: t, dir: dir, logs: new(logtest.Text)}
	logger := slog.New(slog.NewTextHandler(s.logs, nil))
	c.Folder = dir
	s.Archive = New(c, b, logger)
	o.Remote, o.Logger = s.Archive, logger
	store, err := seglog.OpenStore(dir, o)
	require.NoError(t, err)
	replicas, err := replica.Open(store, nil, logger)
	require.NoError(t, err)
	s.Serve(replicas)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, s.Close())
		require.NoError(t, replicas.Close())
		require.NoError(t, store.Close())
	})
	t.Cleanup(s.stop)
	return s
}

// sink gives a log to its replica.
type sink struct{ *replica.Feeding }

func (sink) Gap(gap *seglog.GapError) error { return fmt.Errorf("unexpected: %w", gap) }

type feeder struct{}

func (feeder) Interrupt() {}

// feed brings all that a forwarder has.
func (s *server) feed(f *forwarder) {
	s.t.Helper()
	feeding, err := s.replicas.Lease(s.t.Context(), f.id(), replica.Source{Feeder: feeder{}})
	require.NoError(s.t, err)
	defer feeding.Release()
	at, _, _ := feeding.Position()
	last := f.last()
	feeding.SetTail(last)
	require.NoError(s.t, logship.Send(s.t.Context(), f.writer.Log(), at, sink{feeding}, logship.Options{More: func(after uint64) bool { return after < last }}))
}

func (s *server) eventually(f func() bool, what string) {
	s.t.Helper()
	require.Eventually(s.t, f, patience, 5*time.Millisecond, "%s\n%s", what, s.logs)
}

func newBucket(t *testing.T) *buckettest.Faulty {
	t.Helper()
	b, err := bucket.Open(t.Context(), filepath.Join(t.TempDir(), "bucket"), bucket.Options{})
	require.NoError(t, err)
	return buckettest.New(b)
}

// objects of a bucket with their sizes.
func objects(t *testing.T, b bucket.Bucket) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	for o, err := range b.List(t.Context(), "") {
		require.NoError(t, err)
		found[o.Name] = o.Size
	}
	return found
}

// content is what a bucket has of a log, segments by their names, with their pieces put
// together.
func content(t *testing.T, b bucket.Bucket, id segment.LogID) map[string][]byte {
	t.Helper()
	sealed := map[string][]byte{}
	chains := map[string][]byte{}
	for o, err := range b.List(t.Context(), id.String()) {
		require.NoError(t, err)
		r, err := b.Open(t.Context(), o.Name, 0, -1)
		if err != nil {
			continue // It has gone meanwhile.
		}
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		name, ok := layout.ParseName(o.Name)
		require.True(t, ok, o.Name)
		if !name.Piece {
			sealed[name.Segment] = data
		} else if int64(len(chains[name.Segment])) == name.Offset {
			chains[name.Segment] = append(chains[name.Segment], data...)
		}
	}
	for name, data := range chains {
		if sealed[name] == nil {
			sealed[name] = data
		}
	}
	return sealed
}

// has says whether a bucket has all of a forwarder's log, byte for byte, and fails if it
// has other bytes.
func has(t *testing.T, b bucket.Bucket, f *forwarder) bool {
	t.Helper()
	there := content(t, b, f.id())
	for _, s := range f.writer.Log().Segments() {
		want, err := os.ReadFile(filepath.Join(f.dir, f.id().String(), s.Name))
		require.NoError(t, err)
		got := there[s.Name]
		require.True(t, bytes.HasPrefix(want, got), "segment %s", s.Name)
		if len(got) != len(want) && s.LastSequence >= s.FirstSequence {
			return false
		}
	}
	return true
}

// TestEverythingComesOnce checks what two servers bring, and that neither asks much.
func TestEverythingComesOnce(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	one, two := newServer(t, b, testConfig()), newServer(t, b, testConfig())
	for range 4 {
		f.write(5)
		one.feed(f)
		two.feed(f)
		one.eventually(func() bool { return has(t, b, f) }, "it comes")
		f.rotate()
	}
	f.write(1)
	one.feed(f)
	two.feed(f)
	for _, s := range []*server{one, two} {
		s.eventually(func() bool { return s.replicas.Get(f.id()).Archived() == f.last() && s.pending() == 0 }, "it is known")
	}
	one.eventually(func() bool {
		return !slices.ContainsFunc(slices.Collect(keys(objects(t, b))), func(name string) bool {
			o, _ := layout.ParseName(name)
			return o.Piece && objects(t, b)[layout.Object{Log: o.Log, Segment: o.Segment}.Name()] > 0
		})
	}, "pieces go")
	calls := b.Calls()
	time.Sleep(20 * interval)
	require.LessOrEqual(t, b.Calls()-calls, 4, "nothing is asked of a log that does not grow")
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestFaults breaks the bucket in every way while logs grow, and checks that in the end all
// of it is there, and that the disk kept what was not.
func TestFaults(t *testing.T) {
	for name, faults := range map[string]buckettest.Faults{
		"away":            {Away: true},
		"refusing":        {Refuse: true},
		"answers lost":    {LoseAnswers: true},
		"slow":            {Delay: 3 * interval},
		"reads break off": {CutReads: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, f := newBucket(t), newForwarder(t)
			one, two := newServer(t, b, testConfig()), newServer(t, b, testConfig())
			for i := range 6 {
				b.Set(buckettest.Faults{})
				if i%2 == 1 {
					b.Set(faults)
				}
				f.write(4)
				one.feed(f)
				if i%3 != 0 {
					two.feed(f)
				}
				time.Sleep(4 * interval)
				if i%2 == 1 {
					f.rotate()
				}
			}
			b.Set(buckettest.Faults{})
			f.write(1)
			one.feed(f)
			two.feed(f)
			for _, s := range []*server{one, two} {
				s.eventually(func() bool { return has(t, b, f) && s.replicas.Get(f.id()).Archived() == f.last() }, "all of it comes")
				require.Empty(t, s.diverged())
				require.Empty(t, s.Status().GetError())
			}
		})
	}
}

// diverged is what was logged of divergence.
func (s *server) diverged() []string {
	var found []string
	for line := range strings.Lines(s.logs.String()) {
		if strings.Contains(line, "other bytes") {
			found = append(found, line)
		}
	}
	return found
}

// TestDiverged checks that a copy of a log that differs from what is in the bucket is said,
// and changes nothing there.
func TestDiverged(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	f.write(5)
	f.rotate()
	f.write(1)
	name := f.writer.Log().Segments()[0].Name
	object := layout.Object{Log: f.id(), Segment: name}.Name()
	want, err := os.ReadFile(filepath.Join(f.dir, f.id().String(), name))
	require.NoError(t, err)
	other := append(bytes.Clone(want), want...)
	require.NoError(t, b.Create(t.Context(), object, bytes.NewReader(other), int64(len(other))))
	s := newServer(t, b, testConfig())
	s.feed(f)
	s.eventually(func() bool { return len(s.diverged()) == 1 }, "it is said")
	require.EqualValues(t, len(other), objects(t, b)[object])
	require.Len(t, objects(t, b), 1)
}

// TestFill checks that a server with an empty disk, and one that is behind, take from the
// bucket what they lack, and read what is older from there.
func TestFill(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	one, behind := newServer(t, b, testConfig()), newServer(t, b, Config{Interval: time.Hour, Bytes: LeastBytes})
	f.write(3)
	one.feed(f)
	behind.feed(f)
	behind.stop()
	for range 3 {
		f.write(3)
		f.rotate()
		f.write(2)
		one.feed(f)
	}
	one.eventually(func() bool { return has(t, b, f) && one.pending() == 0 }, "it comes")
	for what, dir := range map[string]string{"empty": t.TempDir(), "behind": behind.dir} {
		s := openServer(t, dir, b, testConfig(), seglog.Options{})
		<-s.Filled()
		r := s.replicas.Get(f.id())
		require.NotNil(t, r, "%s: %s", what, s.logs)
		require.Equal(t, f.last(), r.Log.Last(), "%s: %s", what, s.logs)
		require.True(t, r.Serving(), what)
		requireBlocks(t, r.Log, f)
		s.stop()
	}
}

// requireBlocks checks that a log has all blocks of a forwarder's.
func requireBlocks(t *testing.T, l *seglog.Log, f *forwarder) {
	t.Helper()
	for seq := uint64(1); seq <= f.last(); seq++ {
		want, ok, err := f.writer.Log().Checksum(t.Context(), seq)
		require.NoError(t, err)
		require.True(t, ok)
		got, ok, err := l.Checksum(t.Context(), seq)
		require.NoError(t, err)
		require.True(t, ok, "block %d", seq)
		require.Equal(t, want, got)
	}
}

// TestDeadLog checks that the log of a forwarder that died comes to the bucket whole, and
// is read from there as an archived one, by the chain of its last pieces.
func TestDeadLog(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	f.write(3)
	f.rotate()
	f.write(4)
	s := newServer(t, b, testConfig())
	s.feed(f)
	s.eventually(func() bool { return s.replicas.Get(f.id()).Archived() == f.last() }, "it comes")
	s.eventually(func() bool {
		for _, info := range s.replicas.Get(f.id()).Log.Segments() {
			if !info.Archived {
				return false
			}
		}
		return true
	}, "the disk may give it up")
	relay := newServer(t, b, Config{Interval: interval, Bytes: LeastBytes, ReadOnly: true})
	relay.eventually(func() bool {
		r := relay.replicas.Get(f.id())
		return r != nil && r.Remote() && r.Log.Last() == f.last()
	}, "it is read")
	requireBlocks(t, relay.replicas.Get(f.id()).Log, f)
	require.Empty(t, relay.replicas.All())
}

// TestUnfedLogIsCompleted checks that a server takes the end of a log that nobody feeds
// from the bucket also if that was away when it started.
func TestUnfedLogIsCompleted(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	one, two := newServer(t, b, testConfig()), newServer(t, b, Config{Interval: time.Hour, Bytes: LeastBytes})
	f.write(3)
	two.feed(f)
	two.stop()
	f.write(3)
	one.feed(f)
	one.eventually(func() bool { return has(t, b, f) }, "it comes")
	b.Set(buckettest.Faults{Away: true})
	two = openServer(t, two.dir, b, testConfig(), seglog.Options{})
	<-two.Filled()
	require.EqualValues(t, 3, two.replicas.Get(f.id()).Log.Last())
	require.Zero(t, two.Asked(f.id()))
	b.Set(buckettest.Faults{})
	two.eventually(func() bool { return two.replicas.Get(f.id()).Log.Last() == f.last() }, "it is completed")
	completed := time.Now()
	two.eventually(func() bool {
		two.catalogue.mu.Lock()
		defer two.catalogue.mu.Unlock()
		return two.catalogue.asked[f.id()].After(completed)
	}, "it is asked for again, after who asks peers knows that nobody feeds it")
}

// TestEndThatIsNotTaken checks that a log counts as not asked for as long as the bucket has
// more of it, of which reading fails.
func TestEndThatIsNotTaken(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	one, two := newServer(t, b, testConfig()), newServer(t, b, Config{Interval: time.Hour, Bytes: LeastBytes})
	f.write(3)
	two.feed(f)
	two.stop()
	f.write(3)
	f.rotate()
	one.feed(f)
	one.eventually(func() bool { return has(t, b, f) && one.pending() == 0 }, "it comes")
	b.Set(buckettest.Faults{CutReads: 3 * segment.FrameHeaderSize})
	two = openServer(t, two.dir, b, testConfig(), seglog.Options{})
	two.eventually(func() bool { return two.Status().GetSizeBytes() > 0 }, "it is listed")
	require.Never(t, func() bool { return !two.Asked(f.id()).IsZero() }, 20*interval, interval)
	require.EqualValues(t, 3, two.replicas.Get(f.id()).Log.Last())
	b.Set(buckettest.Faults{})
	two.eventually(func() bool { return !two.Asked(f.id()).IsZero() }, "it is taken")
	require.Equal(t, f.last(), two.replicas.Get(f.id()).Log.Last())
}

// TestRetention checks that the bucket's retention deletes the oldest segments, by one of
// two servers, and that nobody uploads them again.
func TestRetention(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	c := testConfig()
	c.RetentionSize = 1
	one, two := newServer(t, b, c), newServer(t, b, c)
	for range 3 {
		f.write(3)
		f.rotate()
	}
	f.write(1)
	one.feed(f)
	two.feed(f)
	kept := func() (segments []string) {
		for name := range objects(t, b) {
			if o, ok := layout.ParseName(name); ok && !slices.Contains(segments, o.Segment) {
				segments = append(segments, o.Segment)
			}
		}
		return segments
	}
	newest := f.writer.Log().Segments()[3].Name
	one.eventually(func() bool { return slices.Equal(kept(), []string{newest}) }, "the newest stays alone")
	time.Sleep(10 * interval)
	require.Equal(t, []string{newest}, kept())
	for _, s := range []*server{one, two} {
		s.eventually(func() bool { return s.pending() == 0 }, "nothing is to be uploaded")
	}
}

// TestStrangers checks that objects that are not ours are left alone, and said once.
func TestStrangers(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	put := func(name string) {
		require.NoError(t, b.Create(t.Context(), name, strings.NewReader("hello"), 5))
	}
	put("readme.txt")
	put(f.id().String() + "/notes")
	put(layout.Object{Log: segment.LogID{9}, Segment: "20260102T030405.000Z-00000000000000000001.seg"}.Name())
	f.write(3)
	s := newServer(t, b, testConfig())
	s.feed(f)
	s.eventually(func() bool { return s.replicas.Get(f.id()).Archived() == f.last() }, "ours comes")
	s.eventually(func() bool {
		return strings.Count(s.logs.String(), "are not ours") == 1 && strings.Contains(s.logs.String(), "is no segment")
	}, "it is said")
	require.Nil(t, s.replicas.Get(segment.LogID{9}))
	require.EqualValues(t, 5, objects(t, b)["readme.txt"])
}

// TestReading checks reads at random places of a segment in pieces and of a sealed one, in
// a bucket that fails, with little memory.
func TestReading(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	f.write(50)
	f.rotate()
	f.write(50)
	s := newServer(t, b, testConfig())
	s.feed(f)
	s.eventually(func() bool { return has(t, b, f) && s.pending() == 0 }, "it comes")
	for _, info := range f.writer.Log().Segments() {
		want, err := os.ReadFile(filepath.Join(f.dir, f.id().String(), info.Name))
		require.NoError(t, err)
		r, err := s.OpenSegment(f.id(), info.Name)
		require.NoError(t, err)
		for range 100 {
			at := rand.IntN(len(want))
			got := make([]byte, 1+rand.IntN(len(want)-at))
			n, err := r.ReadAt(got, int64(at))
			require.NoError(t, err)
			require.Equal(t, want[at:at+n], got)
		}
		n, err := r.ReadAt(make([]byte, 2), int64(len(want)-1))
		require.Equal(t, 1, n)
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, r.Close())
	}
	_, err := s.OpenSegment(f.id(), "x")
	require.ErrorIs(t, err, seglog.ErrRemoteGone)
}
