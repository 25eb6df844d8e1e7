package server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Connections beyond those that one address may have are closed and counted. The
// others are served, and one that ends makes room.
func TestTooManyConnections(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	c := testConfig(t)
	c.RPCConns = 8
	share := c.RPCConns * c.PeerShare / 100
	s := startFed(t, c, src)
	address := s.RPCAddr().String()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask := func() error {
		r, err := client.Post("http://"+address+"/grpc.health.v1.Health/Check", "application/json", strings.NewReader("{}"))
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
		}
		return err
	}
	require.NoError(t, ask(), "takes one connection, which it keeps")
	var open []net.Conn
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	for range share - 1 {
		open = append(open, dial())
	}
	for i := range 3 {
		over := dial()
		require.NoError(t, over.SetReadDeadline(time.Now().Add(patience)))
		_, err := over.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, float64(i+1), s.metricOf(t, "promgrpc_server_over_limit_total", "rpc-connections"))
	}
	require.Contains(t, s.log.String(), "--limit.rpc-connections")
	require.NoError(t, ask())
	for _, conn := range open {
		require.NoError(t, conn.Close())
	}
	overAll(t, func(t *testing.T, p protocol) {
		require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_connections") < float64(share) }, patience, time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		all(t, p.open(t, ctx, address, &getRequest{}))
	})
}

// A trusted proxy carries many clients: it has no share.
func TestConnectionsOfAProxy(t *testing.T) {
	c := testConfig(t)
	c.RPCConns = 8
	c.TrustedProxies = []string{"127.0.0.1"}
	s := start(t, c)
	for range c.RPCConns {
		conn, err := net.Dial("tcp", s.RPCAddr().String())
		require.NoError(t, err)
		defer conn.Close()
		require.Zero(t, s.metricOf(t, "promgrpc_server_over_limit_total", "rpc-connections"))
	}
	over, err := net.Dial("tcp", s.RPCAddr().String())
	require.NoError(t, err)
	defer over.Close()
	require.NoError(t, over.SetReadDeadline(time.Now().Add(patience)))
	_, err = over.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 1.0, s.metricOf(t, "promgrpc_server_over_limit_total", "rpc-connections"))
}
