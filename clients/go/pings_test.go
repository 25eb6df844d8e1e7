package promgrpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
)

// A message is not answered by a ping, which the server would have to answer in turn.
func TestGetSendsNoPingsForMessages(t *testing.T) {
	server := &metricstest.Server{Script: func(_ context.Context, call *metricstest.Call) error {
		for i := 1; i <= 3; i++ {
			if err := call.Send(response(i)); err != nil {
				return err
			}
		}
		return call.Send(end())
	}}
	var sent record
	dial := grpc.WithContextDialer(func(_ context.Context, address string) (net.Conn, error) {
		conn, err := net.Dial("tcp", address)
		return &recorded{conn, &sent}, err
	})
	c := newClient(t, promgrpc.ProtocolGRPC, promgrpc.Options{GRPC: []grpc.DialOption{dial}}, server.Start(t))
	for _, err := range c.Get(t.Context(), promgrpc.Selection{}) {
		require.NoError(t, err)
	}
	calls := 0
	for _, frame := range sent.frames(t) {
		switch f := frame.(type) {
		case *http2.HeadersFrame:
			calls++
		case *http2.PingFrame:
			// Those that look for a dead peer are zero.
			require.True(t, f.IsAck() || f.Data == [8]byte{}, "%v", f)
		}
	}
	require.Equal(t, 1, calls)
}

// record is what a client wrote to a connection.
type record struct {
	mu      sync.Mutex
	written bytes.Buffer
}

type recorded struct {
	net.Conn
	*record
}

func (r *recorded) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.Conn.Write(b)
	r.written.Write(b[:n])
	return n, err
}

// frames returns those that were written whole.
func (r *record) frames(t *testing.T) (frames []http2.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Equal(t, http2.ClientPreface, string(r.written.Next(len(http2.ClientPreface))))
	in := http2.NewFramer(nil, &r.written)
	for {
		frame, err := in.ReadFrame()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return frames
		}
		require.NoError(t, err)
		frames = append(frames, frame)
	}
}
