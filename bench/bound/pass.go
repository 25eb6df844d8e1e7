package bound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

// PassCommand is the argument by which the benchmark's program becomes Pass.
const PassCommand = "pass"

// Pass is the process for the floor of a router: it answers each call of GetMetrics with
// the messages of all servers, as they come and as the bytes that they are, by the library
// that the router calls servers with. It listens at rpc; at web it says that it runs. It
// returns when it fails.
func Pass(web, rpc string, servers []string) error {
	var conns []*grpc.ClientConn
	for _, server := range servers {
		conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(read.Codec{}), grpc.MaxCallRecvMsgSize(16<<20)))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		conns = append(conns, conn)
	}
	l, err := net.Listen("tcp", rpc)
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() {
		failed <- grpc.NewServer(grpc.ForceServerCodecV2(read.Codec{}), grpc.UnknownServiceHandler(func(_ any, caller grpc.ServerStream) error {
			return passAll(caller, conns)
		})).Serve(l)
	}()
	go func() {
		failed <- http.ListenAndServe(web, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}()
	return <-failed
}

// passAll makes a caller's call at each server, and passes on what comes.
func passAll(caller grpc.ServerStream, conns []*grpc.ClientConn) error {
	var request read.Raw
	if err := caller.RecvMsg(&request); err != nil {
		return err
	}
	message := request.Data.Materialize()
	request.Data.Free()
	group, ctx := errgroup.WithContext(caller.Context())
	var sending sync.Mutex
	for _, conn := range conns {
		group.Go(func() error { return passOne(ctx, caller, conn, message, &sending) })
	}
	return group.Wait()
}

func passOne(ctx context.Context, caller grpc.ServerStream, conn *grpc.ClientConn, request []byte, sending *sync.Mutex) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, metricsv1grpc.MetricsService_GetMetrics_FullMethodName)
	if err != nil {
		return err
	}
	if err := errors.Join(stream.SendMsg(request), stream.CloseSend()); err != nil {
		return err
	}
	for {
		var message read.Raw
		if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		sending.Lock()
		err := caller.SendMsg(&message) // which frees it
		sending.Unlock()
		if err != nil {
			return err
		}
	}
}
