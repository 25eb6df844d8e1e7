package server_test

import (
	"context"
	"encoding/pem"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server"
)

// startRelay starts a relay of servers.
func startRelay(t testing.TB, c server.Config, upstream ...*instance) *instance {
	t.Helper()
	var addresses []string
	for _, u := range upstream {
		addresses = append(addresses, u.RPCAddr().String())
	}
	c.Upstream = strings.Join(addresses, ",")
	return start(t, c)
}

// everything asks for all that a server has, in each way.
var everything = map[string]*getRequest{
	"snapshot": {},
	"retained": {Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}},
	"selected": {Selectors: []string{`m{i=~".*[1-8]"}`, `h`}, Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}},
}

// sameFiles compares the segments of two storage folders.
func sameFiles(t testing.TB, src *source, one, two string) {
	t.Helper()
	id := src.writer.Log().ID().String()
	files, err := filepath.Glob(filepath.Join(one, id, "*.seg"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(two, id, filepath.Base(file)))
		require.NoError(t, err)
		require.Equal(t, want, got, filepath.Base(file))
	}
}

// A relay of a relay has the files of the server, and serves the same.
func TestRelayOfRelay(t *testing.T) {
	one, two := newSource(t), newSource(t)
	history(t, one, now())
	two.write(point{series: "other", t: now(), v: staleNaN}, point{series: "another", t: now(), v: 2})
	config := testConfig(t)
	top := startFed(t, config, one, two)
	first := startRelay(t, testConfig(t), top)
	deepest := testConfig(t)
	second := startRelay(t, deepest, first)
	second.await(t, one, two)
	for title, req := range everything {
		want := lines(all(t, top.call(t, req))...)
		require.NotEmpty(t, want)
		for _, relay := range []*instance{first, second} {
			require.ElementsMatch(t, want, lines(all(t, relay.call(t, req))...), title)
		}
	}
	sameFiles(t, one, config.StoragePath, deepest.StoragePath)

	status, err := connectClient(t, second.RPCAddr().String(), false).GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
	require.NoError(t, err)
	require.Equal(t, first.RPCAddr().String(), status.Msg.GetUpstream())
	require.Len(t, status.Msg.GetLogs(), 2)
	for _, log := range status.Msg.GetLogs() {
		require.True(t, log.GetConnected())
		require.Zero(t, log.GetLagBlocks())
	}

	// A log that comes up later reaches the end of the line too.
	third := newSource(t)
	third.write(point{series: "late", t: now(), v: 1})
	third.feed(top.Server)
	second.await(t, third)
}

// A follower moves between a server, its relay and the relay's relay while
// samples are written, and gets each once.
func TestFollowerMovesToRelaysAndBack(t *testing.T) {
	src := newSource(t)
	src.write(point{series: name(0), t: now(), v: -1})
	top := startFed(t, testConfig(t), src)
	first := startRelay(t, testConfig(t), top)
	second := startRelay(t, testConfig(t), first)
	second.await(t, src)
	places := []*instance{top, first, second, first}
	start := lastCursor(all(t, top.call(t, &getRequest{})))
	const samples = 2000
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range samples {
			src.write(point{series: name(i % 50), t: int64(1e12) + int64(i), v: float64(i)})
			if i%400 == 0 {
				src.rotate()
			}
		}
	}()
	got := roam(t, places, start, samples-1)
	<-written
	for i, v := range got {
		require.Equal(t, i, v)
	}
}

// A relay resumes where it was after a restart, and at another upstream when its own
// is gone; it waits for one that lags.
func TestRelayRestartsAndMoves(t *testing.T) {
	src := newSource(t)
	history(t, src, now())
	one, two := startFed(t, testConfig(t), src), start(t, testConfig(t))
	config := testConfig(t)
	relay := startRelay(t, config, one)
	relay.await(t, src)
	relay.stop()
	src.write(point{series: "after", t: now(), v: 1})
	one.await(t, src)
	relay = startRelay(t, config, one, two)
	relay.await(t, src)

	// The other one begins without anything, and comes to where the relay is.
	one.stop()
	src.feed(two.Server)
	two.await(t, src)
	src.write(point{series: "after", t: now(), v: 2})
	relay.await(t, src)
	sample := &getRequest{Selectors: []string{"after"}}
	require.Equal(t, lines(all(t, two.call(t, sample))...), lines(all(t, relay.call(t, sample))...))
}

// An upstream that lags behind the relay is left for one that does not.
func TestRelayLeavesWhoIsBehind(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	behind := start(t, testConfig(t))
	stop := src.feed(behind.Server)
	behind.await(t, src)
	stop() // its forwarder does not reach it any more
	src.write(point{series: "a", t: now(), v: 2})
	whole := startFed(t, testConfig(t), src)
	c := testConfig(t)
	relay := startRelay(t, c, whole)
	relay.await(t, src)
	relay.stop()
	src.write(point{series: "a", t: now(), v: 3})
	whole.await(t, src)
	relay = startRelay(t, c, behind, whole)
	require.Eventually(t, func() bool { return relay.last(t, src) == 3 }, 3*patience, 10*time.Millisecond)
}

// A relay reads from a server behind a proxy that has a certificate.
func TestRelayByTLS(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	behind, err := url.Parse("http://" + startFed(t, testConfig(t), src).RPCAddr().String())
	require.NoError(t, err)
	client, stop := httpClient(true)
	defer stop()
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.Transport, proxy.FlushInterval = client.Transport, -1
	front := httptest.NewUnstartedServer(proxy)
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	c := testConfig(t)
	c.Upstream = front.Listener.Addr().String()
	c.UpstreamFlags.TLSFiles.CA = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(c.UpstreamFlags.TLSFiles.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), 0o600))
	relay := start(t, c)
	relay.await(t, src)
	src.write(point{series: "a", t: now(), v: 2})
	relay.await(t, src)
	relay.stop()
}

// An upstream that accepts the connection and then sends nothing is left for the next.
func TestRelayLeavesWhoIsSilent(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	whole := startFed(t, testConfig(t), src)
	c := testConfig(t)
	c.Upstream = silent.Addr().String() + "," + whole.RPCAddr().String()
	relay := start(t, c)
	require.Eventually(t, func() bool { return strings.Contains(relay.log.String(), "nothing came for") }, 3*patience, 10*time.Millisecond)
	relay.await(t, src)
}

// A relay keeps no connection to an upstream that it has left, however far it came.
func TestRelayClosesConnections(t *testing.T) {
	for name, files := range map[string]renew.TLSFiles{"plain": {}, "TLS": {ServerName: "upstream.example"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silent, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer silent.Close()
			closed := make(chan error, 1)
			go func() {
				conn, err := silent.Accept()
				if err == nil {
					_, _ = io.Copy(io.Discard, conn) // Until its end, which may be a reset.
					err = conn.Close()
				}
				closed <- err
			}()
			c := testConfig(t)
			c.Upstream, c.UpstreamFlags.TLSFiles = silent.Addr().String(), files
			start(t, c)
			select {
			case err := <-closed:
				require.NoError(t, err)
			case <-time.After(3 * patience):
				t.Fatal("the connection is still open")
			}
		})
	}
}

// A relay reads from no server that an upstream redirects to.
func TestRelayIsNotRedirected(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	elsewhere := "http://" + startFed(t, testConfig(t), src).RPCAddr().String()
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	front.Config.Protocols = new(http.Protocols)
	front.Config.Protocols.SetUnencryptedHTTP2(true)
	front.Start()
	defer front.Close()
	c := testConfig(t)
	c.Upstream = front.Listener.Addr().String()
	relay := start(t, c)
	require.Eventually(t, func() bool { return strings.Contains(relay.log.String(), "Temporary Redirect") }, patience, 10*time.Millisecond)
	require.NotContains(t, relay.log.String(), "upstream connected")
}

// A relay finds its upstreams in Consul: one that comes up later, and another one
// when that is gone.
func TestRelayFindsUpstreams(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	one, two := startFed(t, testConfig(t), src), startFed(t, testConfig(t), src)
	var known directory
	c := testConfig(t)
	c.Upstream = known.start(t)
	relay := start(t, c)
	require.Eventually(t, func() bool { return known.asked() > 0 }, patience, time.Millisecond)
	known.set(one)
	relay.await(t, src)
	known.set(two)
	one.stop()
	src.write(point{series: "a", t: now(), v: 2})
	relay.await(t, src)
	status, err := connectClient(t, relay.RPCAddr().String(), false).GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
	require.NoError(t, err)
	require.Equal(t, two.RPCAddr().String(), status.Msg.GetUpstream())
}

func TestRelayOfNoServer(t *testing.T) {
	for spec, want := range map[string]string{
		"localhost":          "want host:port",
		"localhost:1,":       "an address is empty",
		"http://localhost:1": `unknown scheme "http"`,
		"dns+srv://":         "not a domain name",
	} {
		c := testConfig(t)
		c.Upstream = spec
		_, err := server.New(c, slog.New(slog.DiscardHandler), nil)
		var mistake *usage.Error
		require.ErrorAs(t, err, &mistake)
		require.ErrorContains(t, err, "--upstream: peers")
		require.ErrorContains(t, err, want)
	}
}

// A frame that is larger than a response comes in parts.
func TestRelayTakesLargeFrames(t *testing.T) {
	src := newSource(t)
	var points []point
	for i := range 40_000 {
		points = append(points, point{series: name(i), t: int64(1e12) + int64(i*7919%100003), v: math.Sqrt(float64(i))})
	}
	src.write(points...)
	top := startFed(t, testConfig(t), src)
	got, err := readLogs(t, t.Context(), top, true, &metricsv1.ReadLogsRequest{}, connect.WithGRPC())
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(got, func(r *metricsv1.ReadLogsResponse) bool { return r.GetData().GetPartial() }))
	relay := startRelay(t, testConfig(t), top)
	relay.await(t, src)
	require.Equal(t, lines(all(t, top.call(t, everything["retained"]))...), lines(all(t, relay.call(t, everything["retained"]))...))
}

// The relay's followers are told what the upstream no longer has.
func TestRelayTellsGaps(t *testing.T) {
	src := newSourceWith(t, seglog.Options{SegmentSize: 1 << 12, RetentionSize: 1 << 16})
	top := startFed(t, testConfig(t), src)
	config := testConfig(t)
	src.write(point{series: "a", t: 1, v: 1})
	top.await(t, src)
	relay := startRelay(t, config, top)
	relay.await(t, src)
	from := lastCursor(all(t, relay.call(t, &getRequest{})))
	relay.stop()
	top.stop()
	for i := range 10 {
		history(t, src, int64(i))
		src.rotate()
	}
	require.Greater(t, src.writer.Log().First(), uint64(3), "retention has deleted what the relay needs")
	top = startFed(t, testConfig(t), src)
	relay = startRelay(t, config, top)
	relay.await(t, src)
	gaps := 0
	for _, r := range all(t, relay.call(t, &getRequest{Start: after(from)})) {
		if r.GetGap() != nil {
			gaps++
		}
	}
	require.Equal(t, 1, gaps)
	require.Equal(t, 1.0, relay.metric(t, "promgrpc_server_gaps_total"))
}

// readLogs calls ReadLogs over a protocol.
func readLogs(t *testing.T, ctx context.Context, s *instance, h2 bool, req *metricsv1.ReadLogsRequest, o ...connect.ClientOption) ([]*metricsv1.ReadLogsResponse, error) {
	stream, err := connectClient(t, s.RPCAddr().String(), h2, o...).ReadLogs(ctx, connect.NewRequest(req))
	require.NoError(t, err)
	defer stream.Close()
	var got []*metricsv1.ReadLogsResponse
	for stream.Receive() {
		got = append(got, stream.Msg())
		if stream.Msg().GetEnd() != nil && stream.Err() == nil {
			return got, nil
		}
	}
	return got, stream.Err()
}

func TestReadLogs(t *testing.T) {
	src := newSource(t)
	history(t, src, now())
	config := testConfig(t)
	s := startFed(t, config, src)
	log := src.writer.Log()
	id := log.ID().String()
	for name, p := range map[string]struct {
		h2 bool
		o  []connect.ClientOption
	}{
		"grpc": {true, []connect.ClientOption{connect.WithGRPC()}}, "grpcweb": {false, []connect.ClientOption{connect.WithGRPCWeb()}},
		"connect": {false, nil}, "connect json": {true, []connect.ClientOption{connect.WithProtoJSON()}},
	} {
		t.Run(name, func(t *testing.T) {
			// A backup: all files, as they are.
			got, err := readLogs(t, t.Context(), s, p.h2, &metricsv1.ReadLogsRequest{}, p.o...)
			require.NoError(t, err)
			require.NotNil(t, got[len(got)-1].GetEnd())
			files := map[string][]byte{}
			var file string
			for _, r := range got[:len(got)-1] {
				require.Equal(t, id, r.GetLogId())
				require.Equal(t, log.Last(), r.GetLastSequence())
				if r.GetSegment() != nil {
					file = r.GetSegment().GetName()
				}
				if data := r.GetData(); data != nil {
					require.EqualValues(t, len(files[file]), data.GetOffset())
					files[file] = append(files[file], data.GetData()...)
				}
			}
			require.Len(t, files, 3)
			for name, got := range files {
				want, err := os.ReadFile(filepath.Join(config.StoragePath, id, name))
				require.NoError(t, err)
				require.Equal(t, want, got, name)
			}

			sum, _, err := log.Checksum(t.Context(), log.Last())
			require.NoError(t, err)
			position := &metricsv1.LogPosition{LogId: id, Sequence: log.Last(), Checksum: sum}
			got, err = readLogs(t, t.Context(), s, p.h2, &metricsv1.ReadLogsRequest{Positions: []*metricsv1.LogPosition{position}}, p.o...)
			require.NoError(t, err)
			require.Len(t, got, 2, "there is nothing more")

			ahead := &metricsv1.LogPosition{LogId: id, Sequence: log.Last() + 5}
			got, err = readLogs(t, t.Context(), s, p.h2, &metricsv1.ReadLogsRequest{Positions: []*metricsv1.LogPosition{ahead}}, p.o...)
			require.NoError(t, err)
			require.Len(t, got, 2, "nothing is waited for")

			position.Checksum++
			_, err = readLogs(t, t.Context(), s, p.h2, &metricsv1.ReadLogsRequest{Positions: []*metricsv1.LogPosition{position}}, p.o...)
			require.Equal(t, connect.CodeFailedPrecondition, connect.CodeOf(err))
			require.ErrorContains(t, err, "diverged")

			for _, broken := range []*metricsv1.ReadLogsRequest{
				{Positions: []*metricsv1.LogPosition{{LogId: "x", Sequence: 1}}},
				{Positions: []*metricsv1.LogPosition{{LogId: id}}},
				{Positions: []*metricsv1.LogPosition{position, position}},
				{HeartbeatInterval: millis(200)},
			} {
				_, err = readLogs(t, t.Context(), s, p.h2, broken, p.o...)
				require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
			}
		})
	}

	t.Run("heartbeats, then a drain", func(t *testing.T) {
		stream, err := connectClient(t, s.RPCAddr().String(), true, connect.WithGRPC()).ReadLogs(t.Context(),
			connect.NewRequest(&metricsv1.ReadLogsRequest{Follow: true, HeartbeatInterval: millis(100)}))
		require.NoError(t, err)
		defer stream.Close()
		for beats := 0; beats < 3; {
			require.True(t, stream.Receive(), stream.Err())
			if stream.Msg().GetHeartbeat() != nil {
				beats++
			}
		}
		go s.stop()
		for stream.Receive() {
		}
		require.Equal(t, connect.CodeUnavailable, connect.CodeOf(stream.Err()))
	})
}
