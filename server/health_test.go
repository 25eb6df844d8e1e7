package server_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // has clients look at the health of servers
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

const (
	serving    = healthv1.HealthCheckResponse_SERVING
	notServing = healthv1.HealthCheckResponse_NOT_SERVING
	unknown    = healthv1.HealthCheckResponse_SERVICE_UNKNOWN
)

// watcher is the client's end of a Watch.
type watcher func() (*healthv1.HealthCheckResponse, error)

func watchGRPC(t testing.TB, ctx context.Context, address, service string) watcher {
	return receiveGRPC(t, address, func(conn *grpc.ClientConn) (grpc.ServerStreamingClient[healthv1.HealthCheckResponse], error) {
		return healthv1.NewHealthClient(conn).Watch(ctx, &healthv1.HealthCheckRequest{Service: service})
	})
}

func watchConnect(h2 bool, o ...connect.ClientOption) func(testing.TB, context.Context, string, string) watcher {
	return func(t testing.TB, ctx context.Context, address, service string) watcher {
		return receiveConnect(t, h2, func(client *http.Client) (*connect.ServerStreamForClient[healthv1.HealthCheckResponse], error) {
			c := connect.NewClient[healthv1.HealthCheckRequest, healthv1.HealthCheckResponse](client, "http://"+address+"/grpc.health.v1.Health/Watch", o...)
			return c.CallServerStream(ctx, connect.NewRequest(&healthv1.HealthCheckRequest{Service: service}))
		})
	}
}

var watchers = map[string]func(testing.TB, context.Context, string, string) watcher{
	"grpc":            watchGRPC,
	"grpc by connect": watchConnect(true, connect.WithGRPC()),
	"grpcweb":         watchConnect(false, connect.WithGRPCWeb()),
	"grpcweb h2":      watchConnect(true, connect.WithGRPCWeb()),
	"connect":         watchConnect(false),
	"connect h2":      watchConnect(true),
	"connect json":    watchConnect(false, connect.WithProtoJSON()),
}

// A watch has the current status, each change, and the draining, before it ends.
func TestWatchHealth(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	for name, watch := range watchers {
		for _, service := range []string{"", "promgrpc.metrics.v1.MetricsService", "promgrpc.query.v1.QueryService", "grpc.health.v1.Health"} {
			t.Run(name+" "+service, func(t *testing.T) {
				s := start(t, testConfig(t))
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				recv := watch(t, ctx, s.RPCAddr().String(), service)
				next := func(want healthv1.HealthCheckResponse_ServingStatus) {
					t.Helper()
					m, err := recv()
					require.NoError(t, err)
					require.Equal(t, want, m.GetStatus())
				}
				next(notServing)
				src.feed(s.Server)
				next(serving)
				stopped := make(chan struct{})
				go func() { defer close(stopped); s.stop() }()
				next(notServing)
				_, err := recv()
				requireCode(t, connect.CodeUnavailable, err)
				<-stopped
			})
		}
	}
}

// An unknown service may come later, says the protocol: the stream stays.
func TestWatchUnknownService(t *testing.T) {
	for name, watch := range watchers {
		t.Run(name, func(t *testing.T) {
			s := start(t, testConfig(t))
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			recv := watch(t, ctx, s.RPCAddr().String(), "nobody")
			m, err := recv()
			require.NoError(t, err)
			require.Equal(t, unknown, m.GetStatus())
			ended := make(chan error, 1)
			go func() { _, err := recv(); ended <- err }()
			select {
			case err := <-ended:
				require.Fail(t, "it ended", "%v", err)
			case <-time.After(100 * time.Millisecond):
			}
			s.stop()
			requireCode(t, connect.CodeUnavailable, <-ended)
		})
	}
	s := start(t, testConfig(t))
	conn, err := grpc.NewClient(s.RPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	_, err = healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "nobody"})
	require.Equal(t, codes.NotFound, status.Code(err))
}

// Watches have a limit of their own, since nobody needs a credential for them: they take no
// place of those who read. They make room when they end.
func TestWatchesAreBounded(t *testing.T) {
	for name, watch := range watchers {
		t.Run(name, func(t *testing.T) {
			c := restricted(t, twoTeams)
			c.Watches, c.Streams = 1, 1
			s := startFed(t, c, ofTwoTeams(t))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			_, err := watch(t, ctx, s.RPCAddr().String(), "")()
			require.NoError(t, err)
			_, err = watch(t, t.Context(), s.RPCAddr().String(), "")()
			requireCode(t, connect.CodeResourceExhausted, err)
			require.ErrorContains(t, err, "--limit.health-watches")
			reader, _ := ways[0].as(t, s, "a")
			_, err = get(t.Context(), reader, &getRequest{})
			require.NoError(t, err)
			cancel()
			require.Eventually(t, func() bool {
				inner, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_, err := watch(t, inner, s.RPCAddr().String(), "")()
				return err == nil
			}, patience, 10*time.Millisecond)
		})
	}
}

// gRPC's own clients, with round_robin and client-side health checking, call only
// servers that are ready, not one that waits for its log nor one that drains, and none
// of their calls fails.
func TestClientSideHealthChecking(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	draining := testConfig(t)
	draining.DrainDelay = time.Second
	first, second, empty := startFed(t, draining, src), startFed(t, testConfig(t), src), start(t, testConfig(t))
	builder := manual.NewBuilderWithScheme("replicas")
	var addresses []resolver.Address
	for _, s := range []*instance{first, second, empty} {
		addresses = append(addresses, resolver.Address{Addr: s.RPCAddr().String()})
	}
	builder.InitialState(resolver.State{Addresses: addresses})
	conn, err := grpc.NewClient("replicas:///", grpc.WithResolvers(builder), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "promgrpc.metrics.v1.MetricsService"}}`))
	require.NoError(t, err)
	defer conn.Close()
	client := metricsv1grpc.NewMetricsServiceClient(conn)
	var mu sync.Mutex
	answered := map[string]int{}
	call := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var at peer.Peer
		if _, err := client.GetLabelNames(ctx, &metricsv1.GetLabelNamesRequest{}, grpc.WaitForReady(true), grpc.Peer(&at)); err != nil {
			return fmt.Errorf("at %v: %w", at.Addr, err)
		}
		mu.Lock()
		defer mu.Unlock()
		answered[at.Addr.String()]++
		return nil
	}
	count := func(s *instance) int {
		mu.Lock()
		defer mu.Unlock()
		return answered[s.RPCAddr().String()]
	}
	callUntil := func(done func() bool) {
		t.Helper()
		require.Eventually(t, func() bool { require.NoError(t, call()); return done() }, patience, time.Millisecond)
	}
	callUntil(func() bool { return count(first) > 5 && count(second) > 5 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); first.stop() }()
	callUntil(func() bool {
		select {
		case <-stopped:
			return true
		default:
			return false
		}
	})
	before := count(second)
	callUntil(func() bool { return count(second) > before+5 })
	require.Zero(t, count(empty))

	src.feed(empty.Server)
	callUntil(func() bool { return count(empty) > 5 })
}
