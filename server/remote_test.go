package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
)

// remote is a bucket in memory that servers read segments from.
type remote struct {
	mu       sync.Mutex
	segments map[string][]byte
	answers  int
	err      error         // of all answers
	gate     chan struct{} // all answers wait until it is closed, nil: none does
	waiting  int
}

func newRemote() *remote { return &remote{segments: map[string][]byte{}} }

// OpenSegment implements [seglog.Remote].
func (r *remote) OpenSegment(log segment.LogID, name string) (seglog.RemoteSegment, error) {
	s := remoteSegment{r, filepath.Join(log.String(), name)}
	_, err := r.answer(s.name)
	return s, err
}

func (r *remote) answer(name string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for gate := r.gate; gate != nil; gate = r.gate {
		r.waiting++
		r.mu.Unlock()
		<-gate
		r.mu.Lock()
		r.waiting--
	}
	r.answers++
	b, ok := r.segments[name]
	switch {
	case r.err != nil:
		return nil, r.err
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, seglog.ErrRemoteGone)
	}
	return b, nil
}

func (r *remote) fails(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// block has all answers wait until the function that it returns is called.
func (r *remote) block() (unblock func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gate := make(chan struct{})
	r.gate = gate
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gate = nil
		close(gate)
	})
}

func (r *remote) waitFor() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}

type remoteSegment struct {
	of   *remote
	name string
}

// ReadAt implements [io.ReaderAt].
func (s remoteSegment) ReadAt(b []byte, offset int64) (int, error) {
	all, err := s.of.answer(s.name)
	if err != nil {
		return 0, err
	}
	return bytes.NewReader(all).ReadAt(b, offset)
}

// Close implements [seglog.RemoteSegment].
func (remoteSegment) Close() error { return nil }

// archive puts the sealed segments of a source into the bucket.
func (r *remote) archive(t testing.TB, src *source) (infos []seglog.RemoteInfo) {
	t.Helper()
	id := src.writer.Log().ID()
	for _, s := range src.writer.Log().Segments() {
		if !s.Sealed {
			continue
		}
		name := filepath.Join(id.String(), s.Name)
		b, err := os.ReadFile(filepath.Join(src.dir, name))
		require.NoError(t, err)
		sum, ok, err := src.writer.Log().Checksum(t.Context(), s.LastSequence)
		require.NoError(t, err)
		require.True(t, ok)
		r.mu.Lock()
		r.segments[name] = b
		r.mu.Unlock()
		infos = append(infos, seglog.RemoteInfo{
			Name: s.Name, FirstSequence: s.FirstSequence, LastSequence: s.LastSequence, CreateTime: s.CreateTime,
			Size: s.Size, Checksum: sum, MinTime: s.MinTime, MaxTime: s.MaxTime,
		})
	}
	return infos
}

// remoteConfig is of a server that keeps on its disk only what the bucket does not have,
// and no samples in memory.
func remoteConfig(t testing.TB, r *remote) server.Config {
	c := testConfig(t)
	c.Remote, c.RetentionTime, c.Window = r, time.Nanosecond, 0
	return c
}

// onDisk is how many segments of a log startRemote leaves there.
const onDisk = 2

// startRemote starts a server of whose logs only the newest segments are on the disk.
func startRemote(t testing.TB, c server.Config, r *remote, sources ...*source) *instance {
	t.Helper()
	s := startFed(t, c, sources...)
	for _, src := range sources {
		require.NoError(t, s.SetRemote(src.writer.Log().ID(), r.archive(t, src)))
		src.rotate() // Retention follows.
		src.write(point{series: "rotated", t: now(), v: 1})
	}
	s.await(t, sources...)
	// What it has in memory goes.
	s.stop()
	c.RetentionTime = 0
	s = startFed(t, c, sources...)
	for _, src := range sources {
		require.NoError(t, s.SetRemote(src.writer.Log().ID(), r.archive(t, src)))
		files, err := filepath.Glob(filepath.Join(c.StoragePath, src.writer.Log().ID().String(), "*.seg"))
		require.NoError(t, err)
		require.Len(t, files, onDisk, "all but the newest is in the bucket alone")
	}
	return s
}

// TestStreamsFromTheBucket compares a server that has all on its disk with one that has
// the newest segments only: streams are the same, from the start and from any cursor on.
func TestStreamsFromTheBucket(t *testing.T) {
	src := newSource(t)
	at := now()
	history(t, src, at)
	bucket := newRemote()
	far := startRemote(t, remoteConfig(t, bucket), bucket, src)
	near := startFed(t, testConfig(t), src)
	for title, req := range map[string]*getRequest{
		"everything": {Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}},
		"some of it": {Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(at + 1))}, Selectors: []string{`m{i=~"..[1-9].*"}`}},
		"snapshot":   {},
	} {
		t.Run(title, func(t *testing.T) {
			whole := all(t, near.call(t, req))
			want := lines(whole...)
			for _, p := range protocols {
				if p.lossy {
					continue
				}
				require.Equal(t, want, lines(all(t, p.open(t, t.Context(), far.RPCAddr().String(), req))...), p.name)
			}
			for i, r := range whole {
				resumed := proto.CloneOf(req)
				resumed.Start = after(r.GetCursor())
				p := protocols[i%len(protocols)]
				rest := all(t, p.open(t, t.Context(), far.RPCAddr().String(), resumed))
				if !p.lossy {
					require.Equal(t, want, append(lines(whole[:i+1]...), lines(rest...)...), "broken off after response %d of %d, %s", i, len(whole), p.name)
				}
			}
		})
	}
	require.Positive(t, bucket.answers)
	t.Run("snapshot of the past", func(t *testing.T) {
		// It is resumed at a block that is in the bucket by now.
		whole := all(t, near.call(t, &getRequest{}))
		for range 2 {
			src.write(point{series: "later", t: now(), v: 1})
			require.NoError(t, far.SetRemote(src.writer.Log().ID(), bucket.archive(t, src)))
			src.rotate()
		}
		src.write(point{series: "later", t: now() + 1, v: 1})
		far.await(t, src)
		near.await(t, src)
		for _, i := range []int{0, len(whole) / 2} {
			req := &getRequest{Start: after(whole[i].GetCursor())}
			require.Equal(t, lines(all(t, near.call(t, req))...), lines(all(t, far.call(t, req))...))
		}
	})
}

// TestQueriesFromTheBucket compares PromQL over old times, and that an index that was made
// of a segment stays of use when the segment goes.
func TestQueriesFromTheBucket(t *testing.T) {
	src := newSource(t)
	at := (now() - 60_000) / 1000 * 1000
	history(t, src, at)
	bucket := newRemote()
	c := remoteConfig(t, bucket)
	far := startFed(t, c, src)
	near := startFed(t, testConfig(t), src)
	query := asked{path: "query_range", parameters: parameters("query", `sum by (i) (m{i=~"000.*"})`, "start", seconds(at), "end", seconds(at+10_000), "step", "1")}
	ask := func(s *instance) string {
		t.Helper()
		status, _, body := query.of(t, s)
		require.Equal(t, http.StatusOK, status, body)
		return body
	}
	want := ask(near)
	require.Contains(t, want, "00011")
	require.Equal(t, want, ask(far), "from the disk")
	id := src.writer.Log().ID()
	for range 2 {
		src.rotate()
		src.write(point{series: "rotated", t: now(), v: 1})
		far.await(t, src)
		require.NoError(t, far.SetRemote(id, bucket.archive(t, src)))
	}
	bucket.fails(errors.New("connection refused"))
	require.Equal(t, want, ask(far), "from the index")
	bucket.fails(nil)

	// Another server has neither.
	c = remoteConfig(t, bucket)
	other := startRemote(t, c, bucket, src)
	bucket.fails(errors.New("connection refused"))
	status, header, body := query.of(t, other)
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	require.NotEmpty(t, header.Get("Retry-After"))
	require.Contains(t, body, "the bucket cannot be read now")
	bucket.fails(nil)
	require.Equal(t, want, ask(other), "from the bucket")
	bucket.fails(errors.New("connection refused"))
	require.Equal(t, want, ask(other), "from the index of what was in the bucket")
}

// TestArchivedLog has a log of which nothing is on the disk: it is read by cursors that
// name it, from a time on and by queries of old times, and is in nothing else.
func TestArchivedLog(t *testing.T) {
	old, live := newSource(t), newSource(t)
	at := (now() - 60_000) / 1000 * 1000
	for i := range 30 {
		old.write(point{series: name(i % 7), t: at + int64(i), v: float64(i)})
		if i%10 == 9 {
			old.rotate()
		}
	}
	live.write(point{series: "live", t: now(), v: 1})
	bucket := newRemote()
	c := testConfig(t)
	c.Remote, c.CursorWait = bucket, 100*time.Millisecond
	far := startFed(t, c, live)
	require.NoError(t, far.SetRemote(old.writer.Log().ID(), bucket.archive(t, old)))
	require.Equal(t, 1, far.Archived())
	near := startFed(t, testConfig(t), old, live)

	since := &getRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(at + 5))}}
	whole := all(t, near.call(t, since))
	want := lines(whole...)
	require.Contains(t, want, fmt.Sprintf(`%s 29 @%d`, name(29%7), at+29))
	overAll(t, func(t *testing.T, p protocol) {
		require.ElementsMatch(t, want, lines(all(t, p.open(t, t.Context(), far.RPCAddr().String(), since))...))
		for i, r := range whole {
			rest := all(t, p.open(t, t.Context(), far.RPCAddr().String(), &getRequest{Start: after(r.GetCursor())}))
			require.ElementsMatch(t, want, append(lines(whole[:i+1]...), lines(rest...)...))
		}
		// A cursor that this server made goes on at the other.
		mine := all(t, p.open(t, t.Context(), far.RPCAddr().String(), since))
		rest := all(t, near.call(t, &getRequest{Start: after(lastCursor(mine))}))
		require.Empty(t, lines(rest...))
		snapshot := lines(all(t, p.open(t, t.Context(), far.RPCAddr().String(), &getRequest{}))...)
		require.Len(t, snapshot, 1, "that of the log that is here")
		later := &getRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(at + 30))}}
		require.Len(t, lines(all(t, p.open(t, t.Context(), far.RPCAddr().String(), later))...), 1)
	})
	query := asked{path: "query_range", parameters: parameters("query", `m`, "start", seconds(at), "end", seconds(at+10_000), "step", "1")}
	_, _, a := query.of(t, near)
	_, _, b := query.of(t, far)
	require.Equal(t, a, b)
	require.Contains(t, a, "00003")

	client := connectClient(t, far.RPCAddr().String(), true)
	status, err := client.GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
	require.NoError(t, err)
	require.Len(t, status.Msg.GetLogs(), 1)
	segments, err := client.ListSegments(t.Context(), connect.NewRequest(&metricsv1.ListSegmentsRequest{}))
	require.NoError(t, err)
	remote := 0
	for _, s := range segments.Msg.GetSegments() {
		require.Equal(t, s.GetRemote(), s.GetLogId() == old.writer.Log().ID().String())
		require.Equal(t, s.GetRemote(), s.GetArchived())
		if s.GetRemote() {
			remote++
		}
	}
	require.Equal(t, 3, remote)

	// Its forwarder comes back: streams resume in the log that is fed.
	cursor := lastCursor(all(t, far.call(t, since)))
	old.write(point{series: name(0), t: now(), v: 77})
	old.feed(far.Server)
	far.await(t, old)
	require.Zero(t, far.Archived())
	got := lines(all(t, far.call(t, &getRequest{Start: after(cursor)}))...)
	require.Len(t, got, 1)
	require.Contains(t, got[0], " 77 ")
}

// TestBucketThatFails ends streams with the cursor at which they go on once the bucket can
// be read, without anything missing or coming twice, and notes no damage.
func TestBucketThatFails(t *testing.T) {
	src := newSource(t)
	history(t, src, now())
	bucket := newRemote()
	s := startRemote(t, remoteConfig(t, bucket), bucket, src)
	since := &getRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}}
	want := lines(all(t, s.call(t, since))...)
	overAll(t, func(t *testing.T, p protocol) {
		if p.lossy {
			return
		}
		var got []string
		req := proto.CloneOf(since)
		for attempt := 0; ; attempt++ {
			recv := p.open(t, t.Context(), s.RPCAddr().String(), req)
			var err error
			for n := 0; err == nil; n++ {
				if n == 2+attempt && attempt < 4 {
					bucket.fails(errors.New("connection refused"))
				}
				var r *getResponse
				if r, err = recv(); err != nil {
					break
				}
				got = append(got, lines(r)...)
				req.Start = after(r.GetCursor())
				require.Nil(t, r.GetGap())
				if r.GetEnd() != nil {
					bucket.fails(nil)
					require.Equal(t, want, got)
					return
				}
			}
			requireCode(t, connect.CodeUnavailable, err)
			require.ErrorContains(t, err, "the bucket cannot be read now")
			bucket.fails(nil)
		}
	})
	require.NotContains(t, s.log.String(), "damage")
	require.Zero(t, s.metric(t, "promgrpc_log_damaged_segments_total"))
}

// TestBucketThatKeepsNoMore: what its retention has removed is a gap, as what that of a
// disk has.
func TestBucketThatKeepsNoMore(t *testing.T) {
	src := newSource(t)
	history(t, src, now())
	bucket := newRemote()
	s := startRemote(t, remoteConfig(t, bucket), bucket, src)
	id := src.writer.Log().ID()
	infos := bucket.archive(t, src)
	bucket.mu.Lock()
	delete(bucket.segments, filepath.Join(id.String(), infos[0].Name))
	bucket.mu.Unlock()
	since := &getRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}}
	overAll(t, func(t *testing.T, p protocol) {
		require.NoError(t, s.SetRemote(id, infos), "it is listed all the same")
		responses := all(t, p.open(t, t.Context(), s.RPCAddr().String(), since))
		require.Equal(t, infos[1].FirstSequence, responses[0].GetGap().GetNextSequence())
	})
	require.NoError(t, s.SetRemote(id, infos[1:]))
	for _, r := range all(t, s.call(t, since)) {
		require.Nil(t, r.GetGap())
	}
}

// TestSlowBucketStarvesNobody has more callers wait for the bucket than may decode at a
// time: followers and replays from the disk go on, those who wait get heartbeats, blocks
// are applied, and the server stops.
func TestSlowBucketStarvesNobody(t *testing.T) {
	src := newSource(t)
	history(t, src, now())
	bucket := newRemote()
	c := remoteConfig(t, bucket)
	c.Decodes = 2
	s := startRemote(t, c, bucket, src)
	local := src.writer.Log().Last()
	src.write(point{series: name(1), t: now(), v: 4242})
	s.await(t, src)
	cursor := lastCursor(all(t, s.call(t, &getRequest{})))
	src.write(point{series: name(2), t: now(), v: 4343})
	s.await(t, src)
	require.Less(t, local, src.writer.Log().Last())

	unblock := bucket.block()
	defer unblock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	since := &getRequest{
		Start:             &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))},
		Follow:            true,
		HeartbeatInterval: durationpb.New(100 * time.Millisecond),
	}
	var waiting []receiver
	for _, p := range protocols {
		waiting = append(waiting, p.open(t, ctx, s.RPCAddr().String(), since))
	}
	answered := make(chan int, 1)
	query := asked{path: "query", parameters: parameters("query", `count(m)`, "time", seconds(now()+2000))}.request(t, s)
	go func() {
		client, stop := httpClient(false)
		defer stop()
		res, err := client.Do(query)
		if err != nil {
			answered <- 0
			return
		}
		_ = res.Body.Close()
		answered <- res.StatusCode
	}()
	require.Eventually(t, func() bool { return bucket.waitFor() >= len(protocols) }, patience, time.Millisecond)
	for _, recv := range waiting {
		r, err := recv()
		require.NoError(t, err)
		require.NotNil(t, r.GetHeartbeat())
	}
	overAll(t, func(t *testing.T, p protocol) {
		bird := newCanary(t, ctx, s, src)
		bird.sings(t)
		got := lines(all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(cursor)}))...)
		require.Contains(t, got[0], " 4343 ", "a replay from the disk")
	})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	select {
	case <-stopped:
	case <-time.After(patience):
		require.Fail(t, "it does not stop while the bucket does not answer")
	}
	require.NotEqual(t, http.StatusOK, <-answered)
	for _, recv := range waiting {
		for {
			if _, err := recv(); err != nil {
				break
			}
		}
	}
}

// TestReadLogsStartsOnTheDisk gives who has nothing what is on the disk, and who has a
// position all that follows it.
func TestReadLogsStartsOnTheDisk(t *testing.T) {
	src := newSource(t)
	history(t, src, now())
	bucket := newRemote()
	s := startRemote(t, remoteConfig(t, bucket), bucket, src)
	segments := src.writer.Log().Segments()
	local := segments[len(segments)-onDisk:]
	for name, o := range map[string][]connect.ClientOption{"connect": nil, "grpcweb": {connect.WithGRPCWeb()}, "grpc": {connect.WithGRPC()}} {
		t.Run(name, func(t *testing.T) {
			read := func(req *metricsv1.ReadLogsRequest) (names []string, gap *metricsv1.Gap) {
				stream, err := connectClient(t, s.RPCAddr().String(), true, o...).ReadLogs(t.Context(), connect.NewRequest(req))
				require.NoError(t, err)
				defer stream.Close()
				for stream.Receive() {
					if start := stream.Msg().GetSegment(); start != nil {
						names = append(names, start.GetName())
					}
					if stream.Msg().GetGap() != nil {
						gap = stream.Msg().GetGap()
					}
				}
				require.NoError(t, stream.Err())
				return names, gap
			}
			names, gap := read(&metricsv1.ReadLogsRequest{})
			require.Equal(t, []string{local[0].Name, local[1].Name}, names)
			require.Equal(t, local[0].FirstSequence, gap.GetNextSequence())

			at := segments[0].FirstSequence + 1
			sum, _, err := src.writer.Log().Checksum(t.Context(), at)
			require.NoError(t, err)
			names, gap = read(&metricsv1.ReadLogsRequest{Positions: []*metricsv1.LogPosition{{LogId: src.writer.Log().ID().String(), Sequence: at, Checksum: sum}}})
			require.Nil(t, gap)
			var want []string
			for _, s := range segments[1:] {
				want = append(want, s.Name)
			}
			require.Equal(t, want, names)
		})
	}
}

// TestRepeatsFromTheBucket has requests that are in two logs: they are streamed once, also
// where both are read from the bucket, and wherever a stream is broken off.
func TestRepeatsFromTheBucket(t *testing.T) {
	one, two := newSource(t), newSource(t)
	at := now()
	for i := range 60 {
		sources := []*source{one}
		if i%3 == 0 {
			sources = append(sources, two) // It was repeated there.
		}
		for _, src := range sources {
			b := src.block(point{series: name(i % 5), t: at + int64(i), v: float64(i)})
			b.Digest[0], b.Digest[1] = 1, byte(i)
			src.append(b)
		}
		if i == 19 || i == 39 {
			one.rotate()
			two.rotate()
		}
	}
	bucket := newRemote()
	far := startRemote(t, remoteConfig(t, bucket), bucket, one, two)
	near := startFed(t, testConfig(t), one, two)
	since := &getRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}, Follow: true}
	whole := until(t, near.call(t, since), isSynced)
	want := lines(whole...)
	require.Len(t, want, 60+2, "each once, and what startRemote wrote")
	ids := []segment.LogID{one.writer.Log().ID(), two.writer.Log().ID()}
	overAll(t, func(t *testing.T, p protocol) {
		get := func(req *getRequest) []string {
			return lines(until(t, p.open(t, t.Context(), far.RPCAddr().String(), req), isSynced)...)
		}
		require.ElementsMatch(t, want, get(since))
		for _, at := range []uint64{1, 7, 20, 21, 30, 45, 59} {
			// The second log is at the request of the first, or a little before it.
			c := cursor.Cursor{Since: new(int64(1))}
			for i, sequence := range []uint64{at, (at + 2) / 3} {
				c.Positions = append(c.Positions, cursor.Position{Log: ids[i], Sequence: sequence})
			}
			slices.SortFunc(c.Positions, func(a, b cursor.Position) int { return bytes.Compare(a.Log[:], b.Log[:]) })
			req := &getRequest{Start: after(c.String()), Follow: true}
			require.ElementsMatch(t, lines(until(t, near.call(t, req), isSynced)...), get(req), "from %d on", at)
		}
	})
}

// TestRepeatsBeforeTheDisk has a log on the disk repeat requests that another log has in the
// bucket alone: who follows both from the disk gets each once.
func TestRepeatsBeforeTheDisk(t *testing.T) {
	one, two := repeating(t)
	bucket := newRemote()
	bucket.fails(errors.New("connection refused"))
	far := startRemote(t, remoteConfig(t, bucket), bucket, one, two)
	near := startFed(t, testConfig(t), one, two)
	req := &getRequest{Start: after(behind(one, two)), Follow: true}
	want := lines(until(t, near.call(t, req), isSynced)...)
	bucket.fails(nil)
	overAll(t, func(t *testing.T, p protocol) {
		require.Eventually(t, func() bool {
			got := lines(until(t, p.open(t, t.Context(), far.RPCAddr().String(), req), isSynced)...)
			return len(got) == len(want)
		}, patience, 20*time.Millisecond, "once the bucket can be read")
		require.ElementsMatch(t, want, lines(until(t, p.open(t, t.Context(), far.RPCAddr().String(), req), isSynced)...))
	})
}

// repeating returns two logs of three segments, the newest of the second of which repeats
// what is in the one before the newest of the first.
func repeating(t testing.TB) (one, two *source) {
	one, two = newSource(t), newSource(t)
	at := now()
	for i := range 3 * repeated {
		for _, src := range []*source{one, two} {
			request := i
			if src == two && i >= 2*repeated {
				request = i - repeated
			} else if src == two {
				request = -1 - i
			}
			b := src.block(point{series: name(i % 5), t: at + int64(request), v: float64(request)})
			b.Digest[0], b.Digest[1] = 1, byte(request)
			src.append(b)
		}
		if i%repeated == repeated-1 && i < 2*repeated {
			one.rotate()
			two.rotate()
		}
	}
	return one, two
}

// repeated is how many requests are.
const repeated = 20

// behind is a cursor of who has of both logs all but the newest segment.
func behind(sources ...*source) string {
	var c cursor.Cursor
	for _, src := range sources {
		c.Positions = append(c.Positions, cursor.Position{Log: src.writer.Log().ID(), Sequence: 2*repeated + 1})
	}
	slices.SortFunc(c.Positions, func(a, b cursor.Position) int { return bytes.Compare(a.Log[:], b.Log[:]) })
	return c.String()
}
