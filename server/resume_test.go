package server_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

func after(c string) *metricsv1.GetMetricsRequest_Cursor {
	return &metricsv1.GetMetricsRequest_Cursor{Cursor: c}
}

// history writes blocks small and large, over several segments.
func history(t testing.TB, src *source, at int64) {
	const many = 4000
	for round := range 3 {
		var block []point
		for i := range many {
			block = append(block, point{series: name(i), t: at + int64(round), v: float64(round*many + i)})
		}
		for i := range 300 {
			block = append(block, point{series: fmt.Sprintf(`h{i="%d"}`, i), t: at, histogram: histogram(t, at, float64(i))})
			block = append(block, point{series: name(i), exemplar: exemplar(t, at, float64(i))})
		}
		src.write(block...)
		for i := range 20 {
			src.write(point{series: name(i), t: at + int64(round), v: 0.5}, point{series: fmt.Sprintf(`n{r="%d",i="%d"}`, round, i), t: at, v: 1})
		}
		if round < 2 {
			src.rotate()
		}
	}
}

// A stream that is broken off anywhere, and resumed at another replica with
// the cursor that it had there, is the stream that was not broken off.
func TestResumeAnywhere(t *testing.T) {
	src := newSource(t)
	at := now()
	history(t, src, at)
	one, two := startFed(t, testConfig(t), src), startFed(t, testConfig(t), src)
	for title, req := range map[string]*getRequest{
		"everything retained": {Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}},
		"some of it":          {Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(at + 1))}, Selectors: []string{`m{i=~"..[1-9].*"}`}},
		"snapshot":            {},
		"snapshot of some":    {Selectors: []string{`m{i=~".*[1-8]"}`, `h`}},
	} {
		t.Run(title, func(t *testing.T) {
			whole := all(t, one.call(t, req))
			want := lines(whole...)
			mid := 0
			for i, r := range whole {
				require.NotEmpty(t, r.GetCursor())
				require.Less(t, proto.Size(r), 144<<10)
				c, err := cursor.Parse(r.GetCursor())
				require.NoError(t, err)
				if c.Positions[0].Entries > 0 || c.Positions[0].SnapshotRef > 0 {
					mid++
				}
				resumed := proto.CloneOf(req)
				resumed.Start = after(r.GetCursor())
				rest := all(t, two.call(t, resumed))
				require.Equal(t, want, append(lines(whole[:i+1]...), lines(rest...)...), "broken off after response %d of %d", i, len(whole))
			}
			require.Greater(t, mid, 1, "some cursors are within a block or a snapshot")
		})
	}
}

// roam follows at one server after the other, over one protocol after the other, from
// a cursor on until the last value has come. It returns the values.
func roam(t testing.TB, servers []*instance, cursor string, last int) []int {
	t.Helper()
	var got []int
	req := &getRequest{Follow: true, Start: after(cursor)}
	for turn := 0; len(got) == 0 || got[len(got)-1] < last; turn++ {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		p := protocols[turn%len(protocols)]
		recv := p.open(t, ctx, servers[turn%len(servers)].RPCAddr().String(), req)
		for range 1 + turn%5 {
			r, err := recv()
			require.NoError(t, err)
			for _, ts := range r.GetTimeseries() {
				for _, s := range ts.GetSamples() {
					got = append(got, int(s.GetValue()))
				}
			}
			req = &getRequest{Follow: true, Start: after(r.GetCursor())}
			if len(got) > 0 && got[len(got)-1] >= last {
				break
			}
		}
		cancel()
	}
	return got
}

// A follower that goes from server to server sees each sample once while they
// are written.
func TestResumeWhileFollowing(t *testing.T) {
	src := newSource(t)
	src.write(point{series: name(0), t: now(), v: -1})
	servers := []*instance{startFed(t, testConfig(t), src), startFed(t, testConfig(t), src)}
	start := lastCursor(all(t, servers[0].call(t, &getRequest{})))
	const samples = 3000
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := 0; i < samples; {
			var block []point
			for range 1 + i%7 {
				block = append(block, point{series: name(i % 50), t: int64(1e12) + int64(i), v: float64(i)})
				i++
			}
			src.write(block...)
			if i%500 < 7 {
				src.rotate()
			}
		}
	}()
	got := roam(t, servers, start, samples-1)
	<-written
	for i, v := range got {
		require.Equal(t, i, v)
	}
}

// With min_interval, what is held back when a stream breaks off is not lost.
func TestResumeConflated(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 0}, point{series: "b", t: 1, v: 0})
	s := startFed(t, testConfig(t), src)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	recv := openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, MinInterval: secs(3600), HeartbeatInterval: millis(100)})
	until(t, recv, isSynced)
	src.write(point{series: "a", t: 2, v: 1})
	src.write(point{series: "a", t: 3, v: 2}, point{series: "b", t: 3, v: 3})
	s.await(t, src)
	beats := 0
	got := until(t, recv, func(r *getResponse) bool { beats++; return beats == 3 })
	require.Empty(t, lines(got...))
	rest := all(t, s.call(t, &getRequest{Start: after(lastCursor(got))}))
	require.Equal(t, []string{"a 1 @2", "a 2 @3", "b 3 @3"}, lines(rest...))
}

func TestCursorErrors(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	c := testConfig(t)
	c.CursorWait = 200 * time.Millisecond
	s := startFed(t, c, src)
	id := src.writer.Log().ID()
	overAll(t, func(t *testing.T, p protocol) {
		open := func(cursor string) error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_, err := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(cursor)})()
			return err
		}
		t.Run("junk", func(t *testing.T) {
			requireCode(t, connect.CodeInvalidArgument, open("!"))
		})
		t.Run("unknown log", func(t *testing.T) {
			unknown := cursor.Cursor{Positions: []cursor.Position{{Log: segment.LogID{1}, Sequence: 1}}}
			err := open(unknown.String())
			requireCode(t, connect.CodeOutOfRange, err)
			oldest := detail[*metricsv1.CursorOutOfRange](t, err).GetOldestCursor()
			require.NoError(t, open(oldest))
		})
		t.Run("ahead", func(t *testing.T) {
			ahead := cursor.Cursor{Positions: []cursor.Position{{Log: id, Sequence: 99}}}
			err := open(ahead.String())
			requireCode(t, connect.CodeUnavailable, err)
			require.Equal(t, ahead.String(), detail[*metricsv1.StreamInterrupted](t, err).GetCursor())
		})
	})
}

// A new log may have come to another replica first.
func TestCursorOfALogThatIsOnItsWay(t *testing.T) {
	old, begun := newSource(t), newSource(t)
	old.write(point{series: "a", t: 1, v: 1})
	begun.write(point{series: "b", t: 1, v: 1})
	ahead := startFed(t, testConfig(t), old, begun)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c := lastCursor(all(t, p.open(t, ctx, ahead.RPCAddr().String(), &getRequest{})))
		config := testConfig(t)
		config.CursorWait = patience
		behind := startFed(t, config, old)
		feeding := make(chan func())
		go func() {
			time.Sleep(50 * time.Millisecond)
			feeding <- begun.feed(behind.Server)
		}()
		recv := p.open(t, ctx, behind.RPCAddr().String(), &getRequest{Start: after(c)})
		defer (<-feeding)()
		require.Empty(t, lines(all(t, recv)...))
		behind.stop()
		// Without a forwarder nobody knows whether it comes.
		config.CursorWait, config.StoragePath = time.Millisecond, t.TempDir()
		startFed(t, config, old).stop()
		behind = start(t, config)
		_, err := p.open(t, ctx, behind.RPCAddr().String(), &getRequest{Start: after(c)})()
		requireCode(t, connect.CodeUnavailable, err)
		behind.stop()
	})
}

// A cursor may be beyond all that is left of a log that has ended. The stream waits for
// whoever has the rest, and then goes on with the other logs.
func TestCursorAheadOfAllThatIsLeft(t *testing.T) {
	old, present := newSource(t), newSource(t)
	if old.writer.Log().ID().String() > present.writer.Log().ID().String() {
		old, present = present, old // A cursor has them in order.
	}
	old.write(point{series: "a", t: 1, v: 1})
	present.write(point{series: "b", t: 1, v: 1})
	c := testConfig(t)
	c.CursorWait = 200 * time.Millisecond
	s := start(t, c)
	stop := old.feed(s.Server)
	present.feed(s.Server)
	s.await(t, old, present)
	stop()
	oldID, presentID := old.writer.Log().ID(), present.writer.Log().ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: oldID[:], Ended: true}
	conn, _, err := link.Dial(context.Background(), s.LinkAddr().String(), hello, link.Options{})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Tail{Tail: &linkv1.Position{LogId: oldID[:], Sequence: 1}}}))
	ahead := cursor.Cursor{Positions: []cursor.Position{{Log: oldID, Sequence: 9}, {Log: presentID, Sequence: 0}}}
	within := cursor.Cursor{Positions: []cursor.Position{{Log: oldID, Sequence: 9, SnapshotRef: 2, SnapshotTime: now()}}}
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(ahead.String())})()
		requireCode(t, connect.CodeUnavailable, err)
	})
	s.Ended(oldID, time.Now().Add(-time.Minute))
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		got := all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(ahead.String())}))
		require.Equal(t, []string{"b 1 @1"}, lines(got...))
		c, err := cursor.Parse(lastCursor(got))
		require.NoError(t, err)
		position, _ := c.Of(oldID)
		require.Equal(t, uint64(9), position.Sequence, "it may still come")
		_, err = p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(within.String())})()
		requireCode(t, connect.CodeOutOfRange, err)
	})
}

// A stream waits for a replica that its cursor is beyond.
func TestCursorOfALaggard(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	ahead, behind := startFed(t, testConfig(t), src), start(t, testConfig(t))
	stop := src.feed(behind.Server)
	behind.await(t, src)
	stop()
	src.write(point{series: "a", t: 2, v: 2})
	ahead.await(t, src)
	c := lastCursor(all(t, ahead.call(t, &getRequest{})))
	for _, follow := range []bool{false, true} {
		recv := behind.call(t, &getRequest{Start: after(c), Follow: follow})
		got := make(chan *getResponse)
		go func() { r, _ := recv(); got <- r }()
		select {
		case <-got:
			require.Fail(t, "the replica cannot know what comes after the cursor")
		case <-time.After(100 * time.Millisecond):
		}
		stop := src.feed(behind.Server)
		r := <-got
		require.Empty(t, lines(r))
		stop()
		src.write(point{series: "a", t: 3, v: 3})
		ahead.await(t, src)
		c = lastCursor(all(t, ahead.call(t, &getRequest{})))
	}
}

// What retention removed is reported: for a cursor by an error, to a follower by a gap.
func TestRetention(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1}, point{series: "b", t: now(), v: 1})
	c := testConfig(t)
	c.RetentionSize = 1
	s := startFed(t, c, src)
	old := lastCursor(all(t, s.call(t, &getRequest{})))
	src.write(point{series: "a", t: now(), v: 2})
	src.rotate()
	src.write(point{series: "a", t: now(), v: 3})
	src.rotate()
	seq := src.write(point{series: "a", t: 5, v: 4})
	s.await(t, src)
	_, err := s.call(t, &getRequest{Start: after(old)})()
	requireCode(t, connect.CodeOutOfRange, err)
	oldest := detail[*metricsv1.CursorOutOfRange](t, err).GetOldestCursor()
	require.Regexp(t, `msg="cursor is too old".*oldest sequence is 4`, s.log)
	require.Equal(t, float64(1), s.metricOf(t, "promgrpc_server_streams_ended_total", "out_of_range"))
	got := all(t, s.call(t, &getRequest{Start: after(oldest)}))
	require.Equal(t, []string{"a 4 @5"}, lines(got...))
	require.Equal(t, uint64(4), seq)
}

// A server that was away for longer than the forwarder keeps its log has a
// gap, and a follower that was there before is told where.
func TestGapWhileFollowing(t *testing.T) {
	src := newSourceWith(t, seglog.Options{RetentionSize: 1})
	src.write(point{series: "a", t: 1, v: 1})
	s := start(t, testConfig(t))
	stop := src.feed(s.Server)
	s.await(t, src)
	recv := s.call(t, &getRequest{Follow: true, Selectors: []string{"a"}})
	until(t, recv, isSynced)
	stop()
	src.write(point{series: "a", t: 2, v: 2})
	src.rotate()
	src.write(point{series: "a", t: 3, v: 3})
	src.rotate()
	src.write(point{series: "a", t: 4, v: 4})
	src.feed(s.Server)
	got := until(t, recv, func(r *getResponse) bool {
		return slices.Contains(lines(r), "a 4 @4") || r.GetGap() != nil && r.GetTimeseries() != nil
	})
	gap := got[0].GetGap()
	require.NotNil(t, gap)
	require.Equal(t, src.writer.Log().ID().String(), gap.GetLogId())
	require.Equal(t, uint64(1), gap.GetAfterSequence())
	require.Equal(t, src.writer.Log().First(), gap.GetNextSequence())
	require.Greater(t, gap.GetNextSequence(), uint64(2))
	require.Equal(t, float64(1), s.metric(t, "promgrpc_server_gaps_total"))
	require.Equal(t, float64(1), s.metric(t, "promgrpc_server_stream_gaps_total"))
	said := fmt.Sprintf("after_sequence=1 next_sequence=%d", gap.GetNextSequence())
	require.Regexp(t, `msg="blocks are missing for good".*`+said, s.log)
	require.Regexp(t, `msg="stream has a gap".*`+said, s.log)
}
