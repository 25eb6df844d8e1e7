package server_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/alecthomas/units"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server"
)

func health(t testing.TB, s *server.Server) healthv1.HealthCheckResponse_ServingStatus {
	conn, err := grpc.NewClient(s.RPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: "promgrpc.metrics.v1.MetricsService"})
	require.NoError(t, err)
	return r.GetStatus()
}

func readyStatus(t testing.TB, s *server.Server) int {
	r, err := http.Get("http://" + s.WebAddr().String() + "/-/ready")
	require.NoError(t, err)
	defer r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	return r.StatusCode
}

// A server without a log is not ready. It is with the first keyframe, and after a
// restart without a forwarder.
func TestReadyAndRestart(t *testing.T) {
	c := testConfig(t)
	s := start(t, c)
	require.Equal(t, http.StatusServiceUnavailable, readyStatus(t, s.Server))
	require.Equal(t, healthv1.HealthCheckResponse_NOT_SERVING, health(t, s.Server))
	_, err := s.call(t, &getRequest{})()
	requireCode(t, connect.CodeUnavailable, err)

	src := newSource(t)
	at := now()
	history(t, src, at)
	src.feed(s.Server)
	s.await(t, src)
	require.Equal(t, http.StatusOK, readyStatus(t, s.Server))
	require.Equal(t, healthv1.HealthCheckResponse_SERVING, health(t, s.Server))
	before := all(t, s.call(t, &getRequest{}))
	s.stop()

	again := start(t, c)
	require.NoError(t, again.Ready())
	require.Equal(t, lines(before...), lines(all(t, again.call(t, &getRequest{}))...))
	src.write(point{series: "new", t: at, v: 1})
	src.feed(again.Server)
	again.await(t, src)
	rest := all(t, again.call(t, &getRequest{Start: after(lastCursor(before))}))
	require.Equal(t, []string{fmt.Sprintf("new 1 @%d", at)}, lines(rest...))
}

// A server that drains says so, goes on serving for the delay, and ends its streams with
// the cursor to resume at.
func TestDrain(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	overAll(t, func(t *testing.T, p protocol) {
		c := testConfig(t)
		c.DrainDelay, c.DrainTimeout = 300*time.Millisecond, patience
		s := startFed(t, c, src)
		other := startFed(t, testConfig(t), src)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true})
		got := until(t, recv, isSynced)
		began := time.Now()
		stopped := make(chan struct{})
		go func() { s.stop(); close(stopped) }()
		require.Eventually(t, func() bool { return s.Ready() != nil }, patience, time.Millisecond)
		require.Equal(t, healthv1.HealthCheckResponse_NOT_SERVING, health(t, s.Server))
		all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{}))
		var err error
		for err == nil {
			_, err = recv()
		}
		requireCode(t, connect.CodeUnavailable, err)
		<-stopped
		require.Less(t, time.Since(began), c.DrainTimeout)
		ended := detail[*metricsv1.StreamInterrupted](t, err)
		require.Equal(t, metricsv1.StreamInterrupted_REASON_DRAINING, ended.GetReason())
		cursor := ended.GetCursor()
		require.Equal(t, lastCursor(got), cursor)
		at := now()
		src.write(point{series: "a", t: at, v: 2})
		other.await(t, src)
		require.Equal(t, []string{fmt.Sprintf("a 2 @%d", at)}, lines(all(t, other.call(t, &getRequest{Start: after(cursor)}))...))
	})
}

func TestStreamLimit(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	c := testConfig(t)
	c.Streams = 1
	s := startFed(t, c, src)
	ctx, cancel := context.WithCancel(context.Background())
	until(t, openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true}), isSynced)
	_, err := s.call(t, &getRequest{})()
	requireCode(t, connect.CodeResourceExhausted, err)
	require.ErrorContains(t, err, "--limit.streams")
	require.Equal(t, 1.0, s.metric(t, "promgrpc_server_over_limit_total"))
	cancel()
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_streams") == 0 }, patience, time.Millisecond)
	all(t, s.call(t, &getRequest{}))
}

// A client that takes nothing is cut off, and so is one that takes a message now and
// then; neither delays others.
func TestStalledClient(t *testing.T) {
	src := newSource(t)
	history(t, src, now())
	c := testConfig(t)
	c.StallTimeout = 300 * time.Millisecond
	c.MinRate = 16 * units.MiB // a response pays for some milliseconds
	s := startFed(t, c, src)
	defer writeOn(t, src)()
	for _, p := range protocols {
		if p.zipped {
			continue // It is the same, and takes a lot to fill the buffers.
		}
		for _, pause := range []time.Duration{0, c.StallTimeout * 2 / 3} {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true})
			_, err := recv()
			require.NoError(t, err)
			if pause > 0 {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for err == nil {
						time.Sleep(pause)
						_, err = recv()
					}
				}()
				defer func() { cancel(); <-ended }()
			}
		}
	}
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_streams") == 0 }, 3*patience, 10*time.Millisecond)
	require.Equal(t, s.metricOf(t, "promgrpc_server_streams_ended_total", "stalled"), s.metric(t, "promgrpc_server_streams_ended_total"))
	all(t, s.call(t, &getRequest{}))
}

// writeOn writes block after block until stop is called.
func writeOn(t testing.TB, src *source) (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stopped:
				return
			default:
			}
			var block []point
			for j := range 4000 {
				block = append(block, point{series: name(j), t: int64(i), v: float64(i)})
			}
			src.write(block...)
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return sync.OnceFunc(func() { close(stopped); <-done })
}

// A second connection for a log takes over from the first.
func TestOneFeedPerLog(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	s := startFed(t, testConfig(t), src)
	id := src.writer.Log().ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}
	first, welcome, err := link.Dial(context.Background(), s.LinkAddr().String(), hello, link.Options{})
	require.NoError(t, err)
	defer first.Close()
	require.Equal(t, uint64(1), welcome.GetPosition().GetSequence())
	second, _, err := link.Dial(context.Background(), s.LinkAddr().String(), hello, link.Options{})
	require.NoError(t, err)
	defer second.Close()
	_, err = first.Receive()
	var bye *link.GoodbyeError
	require.ErrorAs(t, err, &bye)
	require.Contains(t, bye.Reason, "newer connection")
}

// A forwarder that fetches what it has lost gets the same bytes.
func TestLogIsGivenBack(t *testing.T) {
	const blocks = 30
	src := newSourceWith(t, seglog.Options{SegmentSize: 1 << 10})
	for i := range blocks {
		src.write(point{series: name(i), t: now(), v: 1})
	}
	s := start(t, testConfig(t))
	stop := src.feed(s.Server)
	s.await(t, src)
	stop() // Its connection would come again, and take over from those of this test.
	id := src.writer.Log().ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}
	for _, after := range []uint64{0, 1, blocks / 2, blocks - 1} {
		c, _, err := link.Dial(context.Background(), s.LinkAddr().String(), hello, link.Options{})
		require.NoError(t, err)
		require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Fetch{Fetch: &linkv1.Fetch{AfterSequence: after}}}))
		want, err := src.writer.Log().ReadRaw(t.Context(), after)
		require.NoError(t, err)
		for at := after; at < blocks; {
			chunk, err := want.Next(context.Background())
			require.NoError(t, err)
			if chunk.Start {
				f, err := c.Receive()
				require.NoError(t, err)
				require.Equal(t, chunk.SegmentName, f.GetSegment().GetName())
				require.Equal(t, chunk.FirstSequence, f.GetSegment().GetFirstSequence())
			}
			f, err := c.Receive()
			require.NoError(t, err)
			require.Equal(t, chunk.Offset, f.GetAppend().GetOffset())
			require.Equal(t, chunk.Data, f.GetAppend().GetData())
			at = chunk.LastSequence
		}
		require.NoError(t, want.Close())
		require.NoError(t, c.Close())
	}
	// What is ahead of the log is refused.
	c, _, err := link.Dial(context.Background(), s.LinkAddr().String(), hello, link.Options{})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Fetch{Fetch: &linkv1.Fetch{AfterSequence: blocks + 1}}}))
	_, err = c.Receive()
	var bye *link.GoodbyeError
	require.ErrorAs(t, err, &bye)
	require.Contains(t, bye.Reason, "ahead")
}

func TestLinkRefusals(t *testing.T) {
	s := start(t, testConfig(t))
	for want, hello := range map[string]*linkv1.Hello{
		"ROLE_RECEIVER": {Role: linkv1.Role_ROLE_RECEIVER},
		"3 bytes":       {Role: linkv1.Role_ROLE_FORWARDER, LogId: []byte("abc")},
		"zero":          {Role: linkv1.Role_ROLE_FORWARDER, LogId: make([]byte, 16)},
	} {
		_, _, err := link.Dial(context.Background(), s.LinkAddr().String(), hello, link.Options{})
		require.ErrorContains(t, err, want)
	}
}

// Bytes that are not the log's end the connection and change nothing.
func TestJunkFromAForwarder(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	s := start(t, testConfig(t))
	stop := src.feed(s.Server)
	s.await(t, src)
	recv := s.call(t, &getRequest{Follow: true})
	until(t, recv, isSynced)
	stop()
	id := src.writer.Log().ID()
	for _, f := range []*linkv1.Frame{
		{Kind: &linkv1.Frame_Append{Append: &linkv1.SegmentAppend{Offset: 1 << 40, Data: []byte("junk")}}},
		{Kind: &linkv1.Frame_Append{Append: &linkv1.SegmentAppend{Offset: 3, Data: []byte("junk")}}},
		{Kind: &linkv1.Frame_Segment{Segment: &linkv1.SegmentStart{Name: "../../x", FirstSequence: 2}}},
		{Kind: &linkv1.Frame_Batch{Batch: &linkv1.Batch{}}},
	} {
		c, _, err := link.Dial(context.Background(), s.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}, link.Options{})
		require.NoError(t, err)
		require.NoError(t, c.Send(f))
		_, err = c.Receive()
		require.Error(t, err)
		require.NoError(t, c.Close())
	}
	src.feed(s.Server)
	at := now()
	src.write(point{series: "a", t: at, v: 2})
	got := until(t, recv, func(r *getResponse) bool { return len(r.GetTimeseries()) > 0 })
	require.Equal(t, []string{fmt.Sprintf("a 2 @%d", at)}, lines(got...))
}

// A series that was dropped since still has its labels in a replay.
func TestReplayOfDroppedSeries(t *testing.T) {
	src := newSource(t)
	at := now()
	old := src.block(point{series: `old{x="y"}`, t: at, v: 1}, point{series: "a", t: at, v: 1})
	old.Time = at - time.Hour.Milliseconds()
	src.append(old)
	src.write(point{series: "a", t: at, v: 2}, point{series: "b", t: at, v: 2})
	src.head.Expire(at-time.Minute.Milliseconds(), nil)
	src.rotate()
	delete(src.refs, `old{x="y"}`)
	src.write(point{series: "a", t: at, v: 3})
	src.write(point{series: `old{x="y"}`, t: at, v: 4})
	s := startFed(t, testConfig(t), src)
	whole := all(t, s.call(t, &getRequest{Start: sinceStart(), Selectors: []string{`{x="y"}`, "b"}}))
	require.Equal(t, []string{
		fmt.Sprintf(`old{x="y"} 1 @%d`, at), fmt.Sprintf(`b 2 @%d`, at), fmt.Sprintf(`old{x="y"} 4 @%d`, at),
	}, lines(whole...))
	require.Equal(t, []string{fmt.Sprintf(`old{x="y"} 4 @%d`, at)}, lines(all(t, s.call(t, &getRequest{Selectors: []string{"old"}}))...))
}

// Several logs are one set of series.
func TestSeveralLogs(t *testing.T) {
	one, two := newSource(t), newSource(t)
	at := now()
	one.write(point{series: "a", t: at, v: 1}, point{series: "b", t: at, v: 1}, point{series: "only_one", t: at, v: 1})
	two.write(point{series: "b", t: at, v: 2}, point{series: "a", t: at + 1, v: 2}, point{series: "only_two", t: at, v: 2})
	s := startFed(t, testConfig(t), one, two)
	whole := all(t, s.call(t, &getRequest{}))
	got := lines(whole...)
	slices.Sort(got)
	require.Len(t, got, 4)
	require.Equal(t, fmt.Sprintf("a 2 @%d", at+1), got[0])
	require.Contains(t, got[1], "b ")
	recv := s.call(t, &getRequest{Start: after(lastCursor(whole)), Follow: true})
	until(t, recv, isSynced)

	three := newSource(t)
	three.write(point{series: "c", t: at, v: 3})
	three.feed(s.Server)
	one.write(point{series: "a", t: at, v: 4})
	two.write(point{series: "b", t: at, v: 5})
	var live []string
	rest := until(t, recv, func(r *getResponse) bool { live = append(live, lines(r)...); return len(live) == 3 })
	slices.Sort(live)
	want := []string{fmt.Sprintf("a 4 @%d", at), fmt.Sprintf("b 5 @%d", at), fmt.Sprintf("c 3 @%d", at)}
	require.Equal(t, want, live)
	require.Empty(t, lines(all(t, s.call(t, &getRequest{Start: after(lastCursor(rest))}))...))

	// A cursor from before the third log was known brings all of it.
	live = lines(all(t, s.call(t, &getRequest{Start: after(lastCursor(whole))}))...)
	slices.Sort(live)
	require.Equal(t, want, live)
}

// A connection that breaks within a keyframe is replaced, and streams go on.
func TestCutWithinAKeyframe(t *testing.T) {
	src := newSource(t)
	at := now()
	var points []point
	for i := range 40000 {
		points = append(points, point{series: name(i), t: at, v: float64(i)})
	}
	src.write(points...)
	s := start(t, testConfig(t))
	stop := src.feed(s.Server)
	s.await(t, src)
	stop()
	src.rotate()
	src.write(point{series: name(7), t: at + 1, v: 0.5})

	id := src.writer.Log().ID()
	c, _, err := link.Dial(context.Background(), s.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}, link.Options{})
	require.NoError(t, err)
	raw, err := src.writer.Log().ReadRaw(t.Context(), 1)
	require.NoError(t, err)
	for range 2 { // the footer of the segment before, and a part of the keyframe
		chunk, err := raw.Next(context.Background())
		require.NoError(t, err)
		require.Less(t, chunk.LastSequence, uint64(2))
		if chunk.Start {
			start := &linkv1.SegmentStart{Name: chunk.SegmentName, FirstSequence: chunk.FirstSequence}
			require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Segment{Segment: start}}))
		}
		require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Append{Append: &linkv1.SegmentAppend{Offset: chunk.Offset, Data: chunk.Data}}}))
	}
	require.NoError(t, raw.Close())
	require.NoError(t, c.CloseWith("cut"))

	recv := s.call(t, &getRequest{Follow: true, Selectors: []string{`m{i="00007"}`}})
	until(t, recv, isSynced)
	src.feed(s.Server)
	got := until(t, recv, func(r *getResponse) bool { return len(r.GetTimeseries()) > 0 })
	require.Equal(t, []string{fmt.Sprintf(`m{i="00007"} 0.5 @%d`, at+1)}, lines(got...))
	require.Len(t, lines(all(t, s.call(t, &getRequest{}))...), 40000)
}
