// Package raw calls a server's streams over gRPC, and hands on what comes as the bytes that
// it is.
//
// Guaranteed: an error is a [connect.Error] with the server's code and details, as a call of
// the client's own would have it, and io.EOF is the end of a stream that ended well. What
// one stream keeps in memory that nobody has received is bounded by [Window], and by one message.
package raw

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Stream is a call that a server answers with many messages.
type Stream struct {
	stream grpc.ClientStream
	cancel context.CancelFunc
}

// Window is how much of a stream may wait to be received.
const Window = 256 << 10

// maxMessage is as much as clients accept by default.
const maxMessage = 4 << 20

// Open makes a call of a procedure at the server of a connection.
func Open(ctx context.Context, conn grpc.ClientConnInterface, procedure string, request proto.Message) (*Stream, error) {
	wire, err := proto.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, procedure,
		grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(maxMessage))
	if err == nil {
		if err = s.SendMsg(wire); err == nil || errors.Is(err, io.EOF) { // io.EOF: RecvMsg says why
			err = s.CloseSend()
		}
	}
	if err != nil {
		cancel()
		return nil, Error(err)
	}
	return &Stream{stream: s, cancel: cancel}, nil
}

// Receive returns the next message, in the room that is given if that is enough.
func (s *Stream) Receive(into []byte) ([]byte, error) {
	m := message{bytes: into[:0]}
	if err := s.stream.RecvMsg(&m); err != nil {
		return nil, Error(err)
	}
	return m.bytes, nil
}

// Close ends the call.
func (s *Stream) Close() { s.cancel() }

// Error is an error of grpc-go as Connect has it.
func Error(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	of, ok := status.FromError(err)
	if !ok {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	e := connect.NewError(connect.Code(of.Code()), errors.New(of.Message()))
	for _, m := range of.Proto().GetDetails() {
		if d, err := connect.NewErrorDetail(m); err == nil {
			e.AddDetail(d)
		}
	}
	return e
}

// message is received as it is.
type message struct{ bytes []byte }

// codec passes bytes on. Its name is that of what they are.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	wire, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(wire)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("cannot receive %T", v)
	}
	n := data.Len()
	if cap(m.bytes) < n {
		m.bytes = make([]byte, n)
	}
	m.bytes = m.bytes[:n]
	data.CopyTo(m.bytes)
	return nil
}
