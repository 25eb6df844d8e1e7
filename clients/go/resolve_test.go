package promgrpc_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
)

// directory resolves to what set last said.
type directory struct {
	mu        sync.Mutex
	addresses []string
	err       error
}

func (d *directory) set(err error, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addresses, d.err = addresses, err
}

func (d *directory) resolve(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addresses, d.err
}

func abort() error {
	metricstest.Abort()
	return nil
}

// A stream whose server leaves resumes at one that the client did not know before.
func TestGetGoesOnAtANewServer(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			first := &metricstest.Server{Script: sequence(3, 3, abort)}
			second := &metricstest.Server{Script: sequence(5, 0, abort)}
			a, b := first.Start(t), second.Start(t)
			var d directory
			d.set(nil, a)
			c := newClient(t, protocol, promgrpc.Options{Resolve: d.resolve})
			var from []string
			for u, err := range c.Get(t.Context(), promgrpc.Selection{}) {
				require.NoError(t, err)
				from = append(from, u.Address)
				d.set(nil, b)
			}
			require.Equal(t, a, from[0])
			require.Equal(t, b, from[len(from)-1])
			require.NotEmpty(t, second.Requests()[0].GetCursor())
		})
	}
}

func TestCallsResolve(t *testing.T) {
	a, b := answers(), answers()
	a.Status.Instance, b.Status.Instance = "a", "b"
	first, second := a.Start(t), b.Start(t)
	var d directory
	c := newClient(t, promgrpc.ProtocolGRPC, promgrpc.Options{Resolve: d.resolve})
	instance := func() string {
		s, err := c.GetStatus(t.Context())
		require.NoError(t, err)
		return s.GetInstance()
	}
	status := func() error { _, err := c.GetStatus(t.Context()); return err }

	away := errors.New("the directory is away")
	d.set(away)
	var unreachable *promgrpc.UnreachableError
	err := status()
	require.ErrorAs(t, err, &unreachable)
	require.ErrorContains(t, err, "the directory is away")
	d.set(nil)
	require.ErrorContains(t, status(), "no address of a server")
	d.set(nil, "localhost")
	require.ErrorContains(t, status(), "want host:port")

	d.set(nil, first)
	require.Equal(t, "a", instance())
	d.set(nil, second)
	require.Equal(t, "b", instance())
	d.set(nil, "127.0.0.1:1", first) // One that is not there, in whatever place it comes up.
	for range 8 {
		require.Equal(t, "a", instance())
	}
}

// A directory that fails ends no stream, and prevents none at a known address.
func TestGetWithoutTheDirectory(t *testing.T) {
	server := &metricstest.Server{Script: sequence(4, 2, abort)}
	var d directory
	d.set(nil, server.Start(t))
	c := newClient(t, promgrpc.ProtocolGRPC, promgrpc.Options{Resolve: d.resolve})
	last := 0
	for u, err := range c.Get(t.Context(), promgrpc.Selection{}) {
		require.NoError(t, err)
		d.set(errors.New("away"))
		last += len(u.GetTimeseries())
	}
	require.Equal(t, 4, last)
}

func TestGetWaitsForAServer(t *testing.T) {
	server := &metricstest.Server{Script: sequence(1, 0, abort)}
	address := server.Start(t)
	var d directory
	time.AfterFunc(50*time.Millisecond, func() { d.set(nil, address) })
	c := newClient(t, promgrpc.ProtocolGRPC, promgrpc.Options{Resolve: d.resolve})
	n := 0
	for _, err := range c.Get(t.Context(), promgrpc.Selection{Follow: true}) {
		require.NoError(t, err)
		n++
	}
	require.Positive(t, n)
}

func TestNewRefusesBothWays(t *testing.T) {
	var d directory
	_, err := promgrpc.New([]string{"a:1"}, promgrpc.Options{Resolve: d.resolve})
	require.ErrorContains(t, err, "both addresses and a function")
}
