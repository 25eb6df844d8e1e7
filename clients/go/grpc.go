package promgrpc

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
)

// window is how much a server may send before it is received: 40 MiB/s where an answer takes
// 100 ms. Without a fixed one grpc-go looks for it by a ping for each message that it waits
// for, which costs the server as much again as the message.
const window = 4 << 20

// grpcTransport uses grpc-go.
type grpcTransport struct {
	*dialer
	conn *grpc.ClientConn
}

func newGRPCTransport(d *dialer, o *Options) (*grpcTransport, error) {
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS)
	}
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return d.dial(ctx, "tcp", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: o.DialTimeout}),
		// Finds a dead peer under a stream that has no heartbeats.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageSize)),
		// The Client itself repeats what failed.
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithStatsHandler(watchGRPC{}),
	}, o.GRPC...)
	// passthrough leaves it to the dialer to resolve host names, at each connection.
	conn, err := grpc.NewClient("passthrough:///"+d.address, options...)
	if err != nil {
		return nil, err
	}
	return &grpcTransport{dialer: d, conn: conn}, nil
}

func (t *grpcTransport) close() error { return t.conn.Close() }

func (t *grpcTransport) wrap(x *exchange, err error) *Error {
	e := t.wrapped(err)
	switch {
	case !mayHaveBrokenOff(x, e):
	case t.lost.Load():
		e.broke = lost
	case t.connected():
		e.broke = proxied
	}
	return e
}

func (t *grpcTransport) open(ctx context.Context, method string, req proto.Message) (stream, error) {
	s, err := t.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return nil, err
	}
	if err := s.SendMsg(req); err != nil {
		return nil, err
	}
	if err := s.CloseSend(); err != nil {
		return nil, err
	}
	return grpcStream{s}, nil
}

func (t *grpcTransport) invoke(ctx context.Context, method string, req, res proto.Message) error {
	return t.conn.Invoke(ctx, method, req, res)
}

type grpcStream struct{ grpc.ClientStream }

func (s grpcStream) receive(res proto.Message) error { return s.RecvMsg(res) }

func (s grpcStream) close() {}
