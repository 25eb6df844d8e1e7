package server_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
)

// peers are servers that know one another once they are introduced.
type peers struct {
	servers []*instance
	paths   []string
	known   directory
}

func startPeers(t *testing.T, n int, configure func(c *server.Config)) *peers {
	p := &peers{}
	address := p.known.start(t)
	for range n {
		c := testConfig(t)
		c.Peers = address
		c.CursorWait = 200 * time.Millisecond
		if configure != nil {
			configure(&c)
		}
		p.servers = append(p.servers, start(t, c))
		p.paths = append(p.paths, c.StoragePath)
	}
	return p
}

// introduce has the servers know one another, and whoever else is named.
func (p *peers) introduce() { p.known.set(p.servers...) }

// feedTo feeds a server until it has all that there is.
func (s *source) feedTo(t testing.TB, to *instance) {
	stop := s.feed(to.Server)
	to.await(t, s)
	stop()
}

// have waits until all servers have all of a log, and compares the files.
func (p *peers) have(t *testing.T, src *source) {
	t.Helper()
	for i, s := range p.servers {
		s.await(t, src)
		sameFiles(t, src, p.paths[i], src.dir)
	}
}

// ended waits until the log has ended at all servers, or at none.
func (p *peers) ended(t *testing.T, src *source, ended bool) {
	t.Helper()
	want := map[bool]float64{true: 1}[ended]
	for _, s := range p.servers {
		require.Eventually(t, func() bool {
			return s.metricOf(t, "promgrpc_server_log_ended", src.writer.Log().ID().String()) == want
		}, 2*time.Minute, 50*time.Millisecond)
	}
}

// beyond is a cursor that is ahead of all that anybody has of a log.
func beyond(src *source) *getRequest {
	c := cursor.Cursor{Positions: []cursor.Position{{Log: src.writer.Log().ID(), Sequence: src.writer.Log().Last() + 4}}}
	return &getRequest{Start: after(c.String())}
}

// A forwarder is gone, and each server has another part of its log, or nothing. All have the
// same soon, cursors are good at each, and a while later the log has ended: who is beyond
// that end goes on. When the forwarder is back the log goes on, at servers too that it does
// not reach.
func TestPeersGiveALogOneEnd(t *testing.T) {
	t.Parallel()
	p := startPeers(t, 3, nil)
	src, live := newSource(t), newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	src.feedTo(t, p.servers[0])
	src.rotate()
	src.write(point{series: "a", t: 2, v: 2})
	src.write(point{series: "b", t: 3, v: 3})
	src.feedTo(t, p.servers[1])
	live.write(point{series: "live", t: 1, v: 1})
	for _, s := range p.servers {
		live.feed(s.Server)
		s.await(t, live)
	}
	tail := lastCursor(all(t, p.servers[1].call(t, &getRequest{})))
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	overAll(t, func(t *testing.T, pr protocol) {
		_, err := pr.open(t, ctx, p.servers[0].RPCAddr().String(), &getRequest{Start: after(tail)})()
		requireCode(t, connect.CodeUnavailable, err)
	})

	p.introduce()
	p.have(t, src)
	overAll(t, func(t *testing.T, pr protocol) {
		for _, s := range p.servers {
			require.Empty(t, lines(all(t, pr.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(tail)}))...))
			require.ElementsMatch(t, []string{"a 2 @2", "b 3 @3", "live 1 @1"}, lines(all(t, pr.open(t, ctx, s.RPCAddr().String(), &getRequest{}))...))
			_, err := pr.open(t, ctx, s.RPCAddr().String(), beyond(src))()
			requireCode(t, connect.CodeUnavailable, err)
		}
	})

	p.ended(t, src, true)
	p.ended(t, live, false)
	overAll(t, func(t *testing.T, pr protocol) {
		for _, s := range p.servers {
			got := all(t, pr.open(t, ctx, s.RPCAddr().String(), beyond(src)))
			require.Equal(t, []string{"live 1 @1"}, lines(got...))
			require.Empty(t, gapsIn(got))
		}
	})

	src.write(point{series: "a", t: 4, v: 4})
	src.feed(p.servers[2].Server)
	p.have(t, src)
	p.ended(t, src, false)
	for _, s := range p.servers {
		require.Equal(t, []string{"a 4 @4"}, lines(all(t, s.call(t, &getRequest{Start: after(tail)}))...))
		require.Contains(t, s.log.String(), "log has ended")
	}
	require.Equal(t, 3.0, p.servers[0].metric(t, "promgrpc_server_exchanged_blocks_total"))
}

// A server that lost its disk is not called before it has what only others have.
func TestReadyOncePeersWereAsked(t *testing.T) {
	t.Parallel()
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	p := startPeers(t, 1, nil)
	src.feedTo(t, p.servers[0])
	p.introduce()
	c := testConfig(t)
	c.Peers = p.servers[0].RPCAddr().String()
	s := start(t, c)
	require.ErrorContains(t, s.Ready(), "other servers are being asked")
	require.Eventually(t, func() bool { return s.Ready() == nil }, patience, time.Millisecond)
	require.Equal(t, src.writer.Log().Last(), s.last(t, src))
}

// fakePeer answers as a test says.
type fakePeer struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	status func() *metricsv1.GetStatusResponse
	logs   func(ctx context.Context, out *connect.ServerStream[metricsv1.ReadLogsResponse]) error

	reading, most atomic.Int32
}

func (f *fakePeer) start(t *testing.T) net.Addr {
	s := httptest.NewUnstartedServer(nil)
	mux := http.NewServeMux()
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(f))
	s.Config.Handler = mux
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	return s.Listener.Addr()
}

// GetStatus implements [metricsv1connect.MetricsServiceHandler].
func (f *fakePeer) GetStatus(ctx context.Context, _ *connect.Request[metricsv1.GetStatusRequest]) (*connect.Response[metricsv1.GetStatusResponse], error) {
	if f.status == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return connect.NewResponse(f.status()), nil
}

// ReadLogs implements [metricsv1connect.MetricsServiceHandler].
func (f *fakePeer) ReadLogs(ctx context.Context, _ *connect.Request[metricsv1.ReadLogsRequest], out *connect.ServerStream[metricsv1.ReadLogsResponse]) error {
	reading := f.reading.Add(1)
	defer f.reading.Add(-1)
	for most := f.most.Load(); reading > most && !f.most.CompareAndSwap(most, reading); most = f.most.Load() {
	}
	return f.logs(ctx, out)
}

// claims says that a peer has a log up to a block.
func claims(last uint64, logs ...segment.LogID) func() *metricsv1.GetStatusResponse {
	return func() *metricsv1.GetStatusResponse {
		res := &metricsv1.GetStatusResponse{Instance: "fake"}
		for _, id := range logs {
			res.Logs = append(res.Logs, &metricsv1.LogStatus{LogId: id.String(), LastSequence: last})
		}
		return res
	}
}

// A peer that claims what it does not have, sends what nobody asked for or nothing, or does
// not answer, keeps no server from getting a log of another one, takes no places, and not
// much else.
func TestPeersThatAreNotHonest(t *testing.T) {
	t.Parallel()
	type output = *connect.ServerStream[metricsv1.ReadLogsResponse]
	hang := func(ctx context.Context, _ output) error { <-ctx.Done(); return ctx.Err() }
	end := &metricsv1.ReadLogsResponse{Event: &metricsv1.ReadLogsResponse_End{End: &metricsv1.End{}}}
	var many []segment.LogID
	for range cursor.MaxLogs {
		many = append(many, segment.NewLogID())
	}
	for name, tc := range map[string]struct {
		status func(segment.LogID) func() *metricsv1.GetStatusResponse
		logs   func(id segment.LogID) func(context.Context, output) error
		says   string
	}{
		"claims much and sends nothing": {
			func(id segment.LogID) func() *metricsv1.GetStatusResponse { return claims(1<<60, id) },
			func(segment.LogID) func(context.Context, output) error {
				return func(_ context.Context, out output) error { return out.Send(end) }
			}, "",
		},
		"sends another log": {
			func(id segment.LogID) func() *metricsv1.GetStatusResponse { return claims(1<<60, id) },
			func(segment.LogID) func(context.Context, output) error {
				return func(_ context.Context, out output) error {
					return out.Send(&metricsv1.ReadLogsResponse{LogId: many[0].String(), Event: &metricsv1.ReadLogsResponse_Segment{
						Segment: &metricsv1.SegmentStart{Name: fmt.Sprintf("20261128T000000.000Z-%020d.seg", 1), FirstSequence: 1},
					}})
				}
			}, "which was not asked for",
		},
		"sends other blocks": {
			func(id segment.LogID) func() *metricsv1.GetStatusResponse { return claims(1<<60, id) },
			func(id segment.LogID) func(context.Context, output) error {
				return func(_ context.Context, out output) error {
					return out.Send(&metricsv1.ReadLogsResponse{LogId: id.String(), Event: &metricsv1.ReadLogsResponse_Data{
						Data: &metricsv1.SegmentData{Offset: 0, Data: []byte("what is this?")},
					}})
				}
			}, "a peer has other blocks of a log",
		},
		"sends a piece without end": {
			func(id segment.LogID) func() *metricsv1.GetStatusResponse { return claims(1<<60, id) },
			func(id segment.LogID) func(context.Context, output) error {
				return func(_ context.Context, out output) error {
					data := make([]byte, 1<<20)
					for offset := uint64(0); ; offset += uint64(len(data)) {
						err := out.Send(&metricsv1.ReadLogsResponse{LogId: id.String(), Event: &metricsv1.ReadLogsResponse_Data{
							Data: &metricsv1.SegmentData{Offset: offset, Data: data, Partial: true},
						}})
						if err != nil {
							return err
						}
					}
				}
			}, "a piece of more than",
		},
		"sends heartbeats": {
			func(id segment.LogID) func() *metricsv1.GetStatusResponse { return claims(1<<60, id) },
			func(id segment.LogID) func(context.Context, output) error {
				return func(ctx context.Context, out output) error {
					for ctx.Err() == nil {
						time.Sleep(10 * time.Millisecond)
						if err := out.Send(&metricsv1.ReadLogsResponse{LogId: id.String()}); err != nil {
							return err
						}
					}
					return ctx.Err()
				}
			}, "nothing came for",
		},
		"invents logs": {
			func(segment.LogID) func() *metricsv1.GetStatusResponse { return claims(5, many...) },
			func(segment.LogID) func(context.Context, output) error { return hang }, "",
		},
		"names more logs than there are": {
			func(id segment.LogID) func() *metricsv1.GetStatusResponse { return claims(5, append(many, id)...) },
			func(segment.LogID) func(context.Context, output) error { return hang }, "more logs than",
		},
		"does not answer": {
			func(segment.LogID) func() *metricsv1.GetStatusResponse { return nil },
			func(segment.LogID) func(context.Context, output) error { return hang }, "peer does not say which logs it has",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPeers(t, 2, nil)
			src := newSource(t)
			src.write(point{series: "a", t: 1, v: 1})
			src.feedTo(t, p.servers[0])
			src.write(point{series: "a", t: 2, v: 2})
			src.feedTo(t, p.servers[1])
			id := src.writer.Log().ID()
			fake := &fakePeer{status: tc.status(id), logs: tc.logs(id)}
			p.known.name(p.servers[0].RPCAddr(), p.servers[1].RPCAddr(), fake.start(t))
			p.have(t, src)
			if tc.says != "" {
				logs(t, p.servers[0], tc.says)
			}
			for _, s := range p.servers {
				require.NoError(t, s.Ready())
				require.Len(t, askStatus(t, s).GetLogs(), 1)
			}
			require.LessOrEqual(t, fake.most.Load(), int32(4), "two at a time for each server")
		})
	}
}

// A forwarder that comes while a peer sends what it has of a log does not wait for that.
func TestForwarderComesBackInTheMiddle(t *testing.T) {
	t.Parallel()
	p := startPeers(t, 1, nil)
	s := p.servers[0]
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	src.feedTo(t, s)
	fake := &fakePeer{status: claims(9, src.writer.Log().ID()), logs: func(ctx context.Context, _ *connect.ServerStream[metricsv1.ReadLogsResponse]) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	p.known.name(fake.start(t))
	require.Eventually(t, func() bool { return fake.reading.Load() == 1 }, patience, time.Millisecond)
	require.Zero(t, s.metricOf(t, "promgrpc_server_forwarder_connected", src.writer.Log().ID().String()))
	src.write(point{series: "a", t: 2, v: 2})
	src.feed(s.Server)
	s.await(t, src)
	require.Eventually(t, func() bool { return s.metricOf(t, "promgrpc_server_exchanges_total", "taken") == 1 }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return fake.reading.Load() == 0 }, patience, time.Millisecond)
	src.write(point{series: "a", t: 3, v: 3})
	s.await(t, src)
	sameFiles(t, src, p.paths[0], src.dir)
}

// Two servers that have other blocks under the id of one log keep what they have, and say
// so. A third has one of the two.
func TestPeersHaveOtherBlocks(t *testing.T) {
	t.Parallel()
	p := startPeers(t, 2, nil)
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	forged := forge(t, src, point{series: "false", t: 2, v: 666}, point{series: "false", t: 3, v: 666})
	src.write(point{series: "a", t: 2, v: 2})
	src.feedTo(t, p.servers[0])
	forged.write(point{series: "false", t: 4, v: 666})
	forged.feedTo(t, p.servers[1])
	p.introduce()
	logs(t, p.servers[0], "a peer has other blocks of a log: what it has is not taken")
	require.Positive(t, p.servers[0].metricOf(t, "promgrpc_server_exchanges_total", "diverged"))
	p.ended(t, src, true)
	sameFiles(t, src, p.paths[0], src.dir)
	sameFiles(t, forged, p.paths[1], forged.dir)
	require.Equal(t, []string{"a 1 @1", "a 2 @2"}, lines(all(t, p.servers[0].call(t, everything["retained"]))...))
}

// Connections of a peer break again and again while it sends a large log. In the end all of
// it is there.
func TestPeersThatFlap(t *testing.T) {
	t.Parallel()
	p := startPeers(t, 2, nil)
	src := newSource(t)
	for i := range 300 {
		var points []point
		for j := range 200 {
			points = append(points, point{series: name(j), t: int64(i + 1), v: float64(i * j)})
		}
		src.write(points...)
		if i%100 == 50 {
			src.rotate()
		}
	}
	src.feedTo(t, p.servers[0])
	front := newDoor(t, p.servers[0], nil)
	for range 30 {
		p.known.name(p.servers[1].RPCAddr(), front.Listener.Addr())
		time.Sleep(200 * time.Millisecond)
		front.CloseClientConnections()
		if p.servers[1].last(t, src) > 0 {
			p.known.name(p.servers[1].RPCAddr())
		}
	}
	p.known.name(p.servers[1].RPCAddr(), front.Listener.Addr())
	p.have(t, src)
}

// Logs belong to forwarders by their certificates, and servers complete one another's by
// theirs. Whose a log is comes with it. Nobody else gets in by this way: who has no
// certificate of a server is neither asked nor answered.
func TestPeersCompleteLogsThatHaveOwners(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.write("of-a-reader", "reader\n")
	access := i.write("access.yml", "roles: {forwarder: ['spiffe://test/forwarder/*'], server: [server]}\npolicies: [{name: readers, token_files: [of-a-reader], read: {}}]\n")
	files := i.files("server")
	web := i.write("rpc.yml", fmt.Sprintf("tls_server_config:\n  cert_file: %q\n  key_file: %q\n  client_ca_file: %q\n  client_auth_type: VerifyClientCertIfGiven\n", files.Cert, files.Key, files.CA))
	p := startPeers(t, 2, func(c *server.Config) {
		i.listen(c)
		c.AccessFile, c.RPCConfigFile, c.PeerFlags.TLSFiles = access, web, files
	})
	src, other := newSource(t), newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	other.write(point{series: "b", t: 1, v: 1})
	own := i.dialer("spiffe://test/forwarder/a")
	feedTo := func(src *source, s *instance) {
		stop := src.feedBy(s.Server, own)
		s.await(t, src)
		stop()
	}
	feedTo(src, p.servers[0])
	feedTo(src, p.servers[1])
	src.write(point{series: "a", t: 2, v: 2})
	feedTo(src, p.servers[1])
	feedTo(other, p.servers[0])

	// One that passes for a server has the certificate of a forwarder.
	pair, err := i.Issue(authority.Request{Names: []string{"spiffe://test/forwarder/b", "127.0.0.1"}})
	require.NoError(t, err)
	stranger := newDoor(t, start(t, testConfig(t)), pair)
	p.known.name(p.servers[0].RPCAddr(), p.servers[1].RPCAddr(), stranger.Listener.Addr())
	p.have(t, src)
	p.have(t, other)
	for _, s := range p.servers {
		logs(t, s, "peer does not say which logs it has")
		require.Contains(t, s.log.String(), "as a server")
	}

	forged := forge(t, other, point{series: "false", t: 2, v: 666})
	for _, s := range p.servers {
		require.ErrorContains(t, forged.feedOnceBy(t, s, i.dialer("spiffe://test/forwarder/b")), "belongs to another forwarder")
		require.NotZero(t, s.last(t, other))
	}
	for name, code := range map[string]connect.Code{"spiffe://test/forwarder/b": connect.CodePermissionDenied, "": connect.CodeUnauthenticated} {
		for _, o := range [][]connect.ClientOption{nil, {connect.WithGRPC()}, {connect.WithGRPCWeb()}} {
			client := &http.Client{Transport: guest{tls: i.client(name)}}
			stream, err := metricsv1connect.NewMetricsServiceClient(client, "https://"+p.servers[0].RPCAddr().String(), o...).
				ReadLogs(t.Context(), connect.NewRequest(&metricsv1.ReadLogsRequest{}))
			if err == nil {
				require.False(t, stream.Receive())
				err = stream.Err()
				_ = stream.Close()
			}
			requireCode(t, code, err)
		}
	}

	// The forwarder is back, and is let in at both.
	other.write(point{series: "b", t: 2, v: 2})
	for _, s := range p.servers {
		feedTo(other, s)
	}
}

// client returns the TLS of a caller with a certificate, unless the name is empty.
func (i *issuer) client(name string) *tls.Config {
	c := certs{t: i.t, dir: i.dir, ca: i.Authority}
	if name == "" {
		return c.client(nil)
	}
	return c.client(c.pair(name))
}
