package promgrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// mortals are servers that any call but GetStatus kills.
type mortals struct {
	servers   []*metricstest.Server
	addresses []string
	dead      []*atomic.Bool
}

func startMortals(t *testing.T, n int) *mortals {
	m := &mortals{}
	for i := range n {
		server, dead := &metricstest.Server{}, new(atomic.Bool)
		die := func(ctx context.Context) error {
			dead.Store(true)
			go server.Die()
			<-ctx.Done()
			return ctx.Err()
		}
		server.Script = func(ctx context.Context, _ *metricstest.Call) error { return die(ctx) }
		server.Lookup = die
		server.Status = &metricsv1.GetStatusResponse{Instance: fmt.Sprint("server", i), Uptime: durationpb.New(time.Hour)}
		m.servers, m.dead = append(m.servers, server), append(m.dead, dead)
		m.addresses = append(m.addresses, server.Start(t))
	}
	return m
}

func (m *mortals) deaths() (n int) {
	for _, dead := range m.dead {
		if dead.Load() {
			n++
		}
	}
	return n
}

// next returns the address of the next server that is alive, or "".
func (m *mortals) next(turn *atomic.Int64) string {
	for range m.servers {
		if i := int(turn.Add(1)) % len(m.servers); !m.dead[i].Load() {
			return m.addresses[i]
		}
	}
	return ""
}

// killing are calls that kill servers.
var killing = map[string]func(*testing.T, *promgrpc.Client) error{
	"snapshot": func(t *testing.T, c *promgrpc.Client) error { return lastError(t, c, promgrpc.Selection{}) },
	"follow":   func(t *testing.T, c *promgrpc.Client) error { return lastError(t, c, promgrpc.Selection{Follow: true}) },
	"lookup": func(t *testing.T, c *promgrpc.Client) error {
		_, err := c.GetLabelNames(t.Context(), &metricsv1.GetLabelNamesRequest{})
		return err
	},
}

// requireSuspect makes each call that kills servers, and checks how many died.
func requireSuspect(t *testing.T, most int, reach func(*testing.T, *mortals) []string) {
	t.Helper()
	const servers = 5
	for _, protocol := range protocols {
		for name, call := range killing {
			t.Run(fmt.Sprintf("%s/%s", protocol, name), func(t *testing.T) {
				m := startMortals(t, servers)
				addresses := reach(t, m)
				c := newClient(t, protocol, promgrpc.Options{MaxReconnects: 2 * servers}, addresses...)
				err := call(t, c)
				if name == "lookup" && len(addresses) == 1 {
					require.Error(t, err)
					require.Equal(t, 2, m.deaths(), "a lookup is made twice an address")
					return
				}
				var suspect *promgrpc.SuspectError
				require.ErrorAs(t, err, &suspect)
				require.ErrorContains(t, suspect, "died")
				require.LessOrEqual(t, m.deaths(), most)
				require.Equal(t, m.deaths(), suspect.Breaks)
			})
		}
	}
}

func TestACallThatServersDieOfIsGivenUp(t *testing.T) {
	requireSuspect(t, 2, func(_ *testing.T, m *mortals) []string { return m.addresses })
}

func TestACallThatServersDieOfIsGivenUpBehindAProxyOfHTTP(t *testing.T) {
	requireSuspect(t, 3, func(t *testing.T, m *mortals) []string {
		var turn atomic.Int64
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		transport := &http.Transport{Protocols: protocols}
		front := httptest.NewUnstartedServer(&httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: m.next(&turn)}) },
			Transport:     transport,
			FlushInterval: -1,
			ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		})
		front.Config.Protocols = new(http.Protocols)
		front.Config.Protocols.SetHTTP1(true)
		front.Config.Protocols.SetUnencryptedHTTP2(true)
		front.Start()
		t.Cleanup(func() {
			front.CloseClientConnections()
			front.Close()
			transport.CloseIdleConnections()
		})
		return []string{front.Listener.Addr().String()}
	})
}

func TestACallThatServersDieOfIsGivenUpBehindAProxyOfTCP(t *testing.T) {
	requireSuspect(t, 3, func(t *testing.T, m *mortals) []string {
		var turn atomic.Int64
		return []string{forward(t, func() string { return m.next(&turn) })}
	})
}

// forward forwards connections to the address that next returns.
func forward(t *testing.T, next func() string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", next())
			if err != nil {
				_ = from.Close()
				continue
			}
			pass := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_, _ = to.Close(), from.Close()
			}
			done.Go(func() { pass(to, from) })
			done.Go(func() { pass(from, to) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		done.Wait()
	})
	return l.Addr().String()
}

// cutting serves what sequence does, after it has cut the connection this many times
// before the first message.
func cutting(cuts int, status *metricsv1.GetStatusResponse) *metricstest.Server {
	server := &metricstest.Server{Status: status}
	script := sequence(2, 0, nil)
	server.Script = func(ctx context.Context, call *metricstest.Call) error {
		if call.Number < cuts {
			go server.Cut()
			<-ctx.Done()
			return ctx.Err()
		}
		call.Number++ // It does not fail.
		return script(ctx, call)
	}
	return server
}

func TestServersThatRestartedHadDied(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := cutting(9, &metricsv1.GetStatusResponse{Instance: "a", Uptime: durationpb.New(0)})
			c := newClient(t, protocol, promgrpc.Options{MaxReconnects: 10}, server.Start(t))
			var suspect *promgrpc.SuspectError
			require.ErrorAs(t, lastError(t, c, promgrpc.Selection{}), &suspect)
			require.Equal(t, 2, suspect.Deaths)
			require.Len(t, server.Requests(), 2)
		})
	}
}

// A network that cuts connections is no reason to give up, as long as it can be
// distinguished from a proxy whose servers die.
func TestServersThatLiveAreNoneThatDied(t *testing.T) {
	for protocol, cuts := range map[promgrpc.Protocol]int{
		promgrpc.ProtocolGRPC: 6, promgrpc.ProtocolGRPCWeb: 2, promgrpc.ProtocolConnect: 2,
	} {
		t.Run(string(protocol), func(t *testing.T) {
			server := cutting(cuts, &metricsv1.GetStatusResponse{Instance: "a", Uptime: durationpb.New(time.Hour)})
			c := newClient(t, protocol, promgrpc.Options{MaxReconnects: 2 * cuts}, server.Start(t))
			require.Equal(t, []int{1, 2}, values(t, c, promgrpc.Selection{}))
			require.Len(t, server.Requests(), cuts+1)
		})
	}
}

// What keeps the client from asking whether a server is alive, such as a token that it
// cannot read, says nothing of the server.
func TestCredentialsThatCannotBeReadAreNoDeaths(t *testing.T) {
	const cuts = 4
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := cutting(cuts, &metricsv1.GetStatusResponse{Instance: "a", Uptime: durationpb.New(time.Hour)})
			var asked atomic.Int64
			c := newClient(t, protocol, promgrpc.Options{MaxReconnects: 2 * cuts, Authorization: func(context.Context) (string, error) {
				if asked.Add(1)%2 == 0 {
					return "", errors.New("half written")
				}
				return "Bearer secret", nil
			}}, server.Start(t))
			require.Equal(t, []int{1, 2}, values(t, c, promgrpc.Selection{}))
			require.Len(t, server.Requests(), cuts+1)
		})
	}
}

// A proxy that accepts connections while there is no server, and closes them, looks
// as if each server died. No call is sent to it until it answers.
func TestProxiesWithoutServersAreWaitedFor(t *testing.T) {
	const refusals = 30
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := cutting(0, &metricsv1.GetStatusResponse{Instance: "a", Uptime: durationpb.New(time.Hour)})
			var refused atomic.Int64
			address := server.Start(t)
			proxy := forward(t, func() string {
				if refused.Add(1) <= refusals {
					return ""
				}
				return address
			})
			c := newClient(t, protocol, promgrpc.Options{}, proxy)
			require.Equal(t, []int{1, 2}, values(t, c, promgrpc.Selection{Follow: true}))
			require.Greater(t, refused.Load(), int64(refusals))
		})
	}
}

// A follower that was served before does not give up, though servers die in a row.
func TestFollowersDoNotGiveUp(t *testing.T) {
	const deaths = 6
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{Status: &metricsv1.GetStatusResponse{Instance: "a", Uptime: durationpb.New(0)}}
			served := make(chan struct{})
			server.Script = func(ctx context.Context, call *metricstest.Call) error {
				if call.Number == 0 {
					_ = call.Send(response(1))
					<-served // A reset would overtake what was not read.
				}
				if call.Number <= deaths {
					go server.Cut()
					<-ctx.Done()
					return ctx.Err()
				}
				_ = call.Send(response(2))
				return call.Send(end())
			}
			c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
			begin := time.Now()
			follow(t, c, served)
			require.Len(t, server.Requests(), deaths+2)
			// From 5 ms on they double from the second death on, with jitter.
			require.GreaterOrEqual(t, time.Since(begin), (5+5+10+20+40+80)*time.Millisecond/2)
		})
	}
}

// follow follows a server to its end, and closes a channel once it was served.
func follow(t *testing.T, c *promgrpc.Client, served chan<- struct{}) {
	t.Helper()
	var got []float64
	for u, err := range c.Get(t.Context(), promgrpc.Selection{Follow: true}) {
		require.NoError(t, err)
		for _, series := range u.GetTimeseries() {
			if len(got) == 0 {
				close(served)
			}
			got = append(got, series.GetSamples()[0].GetValue())
		}
	}
	require.Equal(t, []float64{1, 2}, got)
}
