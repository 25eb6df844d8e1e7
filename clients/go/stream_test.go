package promgrpc_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

var protocols = []promgrpc.Protocol{promgrpc.ProtocolGRPC, promgrpc.ProtocolGRPCWeb, promgrpc.ProtocolConnect}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, protocol promgrpc.Protocol, o promgrpc.Options, addresses ...string) *promgrpc.Client {
	t.Helper()
	o.Protocol = protocol
	if o.MinBackoff == 0 {
		o.MinBackoff, o.MaxBackoff = time.Millisecond, 5*time.Millisecond
	}
	c, err := promgrpc.New(addresses, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestGetFailsOver(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			first := &metricstest.Server{}
			first.Script = func(ctx context.Context, call *metricstest.Call) error {
				for i := 1; i <= 3; i++ {
					if err := call.Send(response(i)); err != nil {
						return err
					}
				}
				<-ctx.Done()
				return ctx.Err()
			}
			second := &metricstest.Server{Script: func(_ context.Context, call *metricstest.Call) error {
				for i := after(call.Request); i <= 5; i++ {
					if err := call.Send(response(i)); err != nil {
						return err
					}
				}
				return call.Send(end())
			}}
			a, b := first.Start(t), second.Start(t)
			c := newClient(t, protocol, promgrpc.Options{}, a, b)
			var got []string
			for u, err := range c.Get(t.Context(), promgrpc.Selection{Follow: true}) {
				require.NoError(t, err)
				if u.GetCursor() == "c3" {
					go first.Stop()
				}
				server := map[string]string{a: "a", b: "b"}[u.Address]
				got = append(got, server+u.GetCursor())
			}
			require.Equal(t, []string{"ac1", "ac2", "ac3", "bc4", "bc5", "b"}, got)
			require.Equal(t, "c3", second.Requests()[0].GetCursor())
		})
	}
}

func TestGetEndsWithErrorsThatAreForGood(t *testing.T) {
	for _, protocol := range protocols {
		for _, code := range []connect.Code{
			connect.CodeInvalidArgument, connect.CodeUnauthenticated, connect.CodePermissionDenied,
			connect.CodeUnimplemented, connect.CodeNotFound,
		} {
			t.Run(fmt.Sprintf("%s/%s", protocol, code), func(t *testing.T) {
				server := &metricstest.Server{Script: func(context.Context, *metricstest.Call) error {
					return metricstest.Error(code, "because")
				}}
				c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
				err := lastError(t, c, promgrpc.Selection{Follow: true})
				require.Equal(t, codes.Code(code), status.Code(err))
				require.ErrorContains(t, err, "because")
				require.Len(t, server.Requests(), 1)
			})
		}
	}
}

func TestGetTellsTheOldestCursor(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			script := func(context.Context, *metricstest.Call) error {
				return metricstest.Error(connect.CodeOutOfRange, "gone", &metricsv1.CursorOutOfRange{OldestCursor: "c7"})
			}
			a, b := &metricstest.Server{Script: script}, &metricstest.Server{Script: script}
			c := newClient(t, protocol, promgrpc.Options{}, a.Start(t), b.Start(t))
			err := lastError(t, c, promgrpc.Selection{Cursor: "c1", Follow: true})
			var out *promgrpc.OutOfRangeError
			require.ErrorAs(t, err, &out)
			require.Equal(t, "c7", out.OldestCursor)
			require.Len(t, a.Requests(), 1, "each replica is asked once")
			require.Len(t, b.Requests(), 1, "each replica is asked once")
		})
	}
}

func TestGetLeavesASilentServer(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			silent := &metricstest.Server{Script: func(ctx context.Context, call *metricstest.Call) error {
				_ = call.Send(response(1))
				<-ctx.Done()
				return ctx.Err()
			}}
			alive := &metricstest.Server{Script: sequence(2, 9, func() error { return nil })}
			a, b := silent.Start(t), alive.Start(t)
			c := newClient(t, protocol, promgrpc.Options{MaxReconnects: 2}, a, b)
			var got []string
			for u, err := range c.Get(t.Context(), promgrpc.Selection{Follow: true, HeartbeatInterval: 100 * time.Millisecond}) {
				if u.GetCursor() == "c2" {
					break
				}
				require.NoError(t, err)
				got = append(got, u.GetCursor())
			}
			require.Equal(t, []string{"c1"}, got)
			require.Equal(t, "c1", alive.Requests()[0].GetCursor())
		})
	}
}

func TestGetWaitsForAConsumer(t *testing.T) {
	server := &metricstest.Server{Script: func(_ context.Context, call *metricstest.Call) error {
		for i := 1; i <= 3; i++ {
			if err := call.Send(response(i)); err != nil {
				return err
			}
		}
		return call.Send(end())
	}}
	c := newClient(t, promgrpc.ProtocolGRPC, promgrpc.Options{}, server.Start(t))
	for _, err := range c.Get(t.Context(), promgrpc.Selection{Follow: true, HeartbeatInterval: 20 * time.Millisecond}) {
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond)
	}
	require.Len(t, server.Requests(), 1)
}

func TestGetGivesUp(t *testing.T) {
	dead := &metricstest.Server{}
	address := dead.Start(t)
	dead.Stop()
	for _, protocol := range protocols {
		for _, tc := range []struct {
			name     string
			options  promgrpc.Options
			follow   bool
			attempts int
		}{
			{"by default twice an address and once more", promgrpc.Options{}, false, 3},
			{"fail fast", promgrpc.Options{FailFast: true}, true, 1},
			{"bounded", promgrpc.Options{MaxReconnects: 4}, true, 5},
			{"never again", promgrpc.Options{MaxReconnects: -1}, true, 1},
		} {
			t.Run(string(protocol)+"/"+tc.name, func(t *testing.T) {
				err := lastError(t, newClient(t, protocol, tc.options, address), promgrpc.Selection{Follow: tc.follow})
				var u *promgrpc.UnreachableError
				require.ErrorAs(t, err, &u)
				require.Equal(t, tc.attempts, u.Attempts)
				require.EqualError(t, err, "cannot reach "+address+": connection refused")
			})
		}
	}
}

func TestGetEndsWithItsContext(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{Script: func(ctx context.Context, call *metricstest.Call) error {
				_ = call.Send(response(1))
				<-ctx.Done()
				return ctx.Err()
			}}
			c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			cause := errors.New("enough")
			var last error
			for _, err := range c.Get(ctx, promgrpc.Selection{Follow: true}) {
				last = err
				cancel(cause)
			}
			require.ErrorIs(t, last, cause)
		})
	}
}

func lastError(t *testing.T, c *promgrpc.Client, q promgrpc.Selection) (last error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, err := range c.Get(ctx, q) {
		require.NoError(t, last, "an error comes last")
		last = err
	}
	return last
}
