package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// TestKillingCall makes a call that every server dies of, with the addresses of
// all. Not all of them die.
func TestKillingCall(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			m := startMortals(t)
			code, _, stderr := harness.Client(t, "get", "--protocol="+protocol, "--address="+strings.Join(m.addresses(), ","))
			if code != 5 {
				t.Errorf("exit code %d, want 5", code)
			}
			contains(t, stderr, "2 servers died while they answered this call")
			m.check(t, 2)
		})
	}
}

// mortal is a server that dies of any stream: it ends its listener and all
// connections, as a process does whose memory has run out.
type mortal struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	name  string
	begun time.Time
	http  *httptest.Server
	once  sync.Once
	dead  atomic.Bool
}

type mortals []*mortal

func startMortals(t *testing.T) (m mortals) {
	t.Helper()
	for i := range 5 {
		s := &mortal{name: fmt.Sprint("mortal", i), begun: time.Now()}
		mux := http.NewServeMux()
		mux.Handle(metricsv1connect.NewMetricsServiceHandler(s))
		mux.Handle(healthv1.Health_Check_FullMethodName, connect.NewUnaryHandler(healthv1.Health_Check_FullMethodName, serving))
		s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Promgrpc-Instance", s.name)
			mux.ServeHTTP(w, r)
		}))
		_ = s.http.Listener.Close()
		l, err := net.Listen("tcp", harness.Host()+":0")
		if err != nil {
			t.Fatal(err)
		}
		s.http.Listener = l
		s.http.Config.Protocols = new(http.Protocols)
		s.http.Config.Protocols.SetHTTP1(true)
		s.http.Config.Protocols.SetUnencryptedHTTP2(true)
		s.http.Start()
		t.Cleanup(func() {
			s.die()
			s.http.Close()
		})
		m = append(m, s)
	}
	return m
}

func serving(context.Context, *connect.Request[healthv1.HealthCheckRequest]) (*connect.Response[healthv1.HealthCheckResponse], error) {
	return connect.NewResponse(&healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_SERVING}), nil
}

func (m mortals) addresses() (list []string) {
	for _, s := range m {
		list = append(list, s.address())
	}
	return list
}

func (m mortals) check(t *testing.T, most int) {
	t.Helper()
	deaths := 0
	for _, s := range m {
		if s.dead.Load() {
			deaths++
		}
	}
	t.Logf("%d of %d servers died", deaths, len(m))
	if deaths == 0 || deaths > most {
		t.Errorf("%d servers died of the call, want 1 to %d", deaths, most)
	}
}

func (m *mortal) address() string { return m.http.Listener.Addr().String() }

func (m *mortal) die() {
	m.once.Do(func() {
		_ = m.http.Listener.Close()
		m.http.CloseClientConnections()
	})
}

// GetMetrics kills the server.
func (m *mortal) GetMetrics(ctx context.Context, _ *connect.Request[metricsv1.GetMetricsRequest], _ *connect.ServerStream[metricsv1.GetMetricsResponse]) error {
	m.dead.Store(true)
	go m.die()
	<-ctx.Done()
	return ctx.Err()
}

// GetStatus tells that the server lives, and since when.
func (m *mortal) GetStatus(context.Context, *connect.Request[metricsv1.GetStatusRequest]) (*connect.Response[metricsv1.GetStatusResponse], error) {
	return connect.NewResponse(&metricsv1.GetStatusResponse{
		Instance: m.name, Ready: true, Uptime: durationpb.New(time.Since(m.begun)),
	}), nil
}
