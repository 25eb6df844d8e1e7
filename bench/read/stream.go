package read

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

// Stream is a gRPC call whose responses are not decoded.
type Stream struct {
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	began  time.Time
	buf    []byte
}

// Server is where to call.
type Server struct {
	Address string
	TLS     *tls.Config // nil: none
}

// Open calls GetMetrics over gRPC. The stream ends with the context.
func Open(ctx context.Context, server Server, request *metricsv1.GetMetricsRequest) (*Stream, error) {
	message, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	return open(ctx, server, metricsv1grpc.MetricsService_GetMetrics_FullMethodName, message)
}

// open calls a streaming method with an encoded request.
func open(ctx context.Context, server Server, method string, request []byte) (*Stream, error) {
	transport := insecure.NewCredentials()
	if server.TLS != nil {
		transport = credentials.NewTLS(server.TLS)
	}
	conn, err := grpc.NewClient(server.Address,
		grpc.WithTransportCredentials(transport),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(Codec{}), grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return nil, err
	}
	s := &Stream{conn: conn, began: time.Now()}
	s.stream, err = conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err == nil {
		err = s.stream.SendMsg(request)
	}
	if err == nil {
		err = s.stream.CloseSend()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// Next returns a response, which is valid until the next call, or io.EOF.
func (s *Stream) Next() ([]byte, error) {
	var m Raw
	if err := s.stream.RecvMsg(&m); err != nil {
		return nil, err
	}
	defer m.Data.Free()
	s.buf = append(s.buf[:0], make([]byte, m.Data.Len())...)
	m.Data.CopyTo(s.buf)
	return s.buf, nil
}

// Close ends the stream.
func (s *Stream) Close() error { return s.conn.Close() }

// Snapshot reads the latest sample of every live series.
func Snapshot(ctx context.Context, server Server) (Result, error) {
	return Metrics(ctx, server, &metricsv1.GetMetricsRequest{})
}

// Metrics calls GetMetrics and reads to the end.
func Metrics(ctx context.Context, server Server, request *metricsv1.GetMetricsRequest) (Result, error) {
	s, err := Open(ctx, server, request)
	if err != nil {
		return Result{}, err
	}
	return s.drain(Count)
}

// drain reads a stream to the end and closes it.
func (s *Stream) drain(count func(message []byte) (series, samples int, err error)) (Result, error) {
	defer func() { _ = s.Close() }()
	var r Result
	for {
		message, err := s.Next()
		if errors.Is(err, io.EOF) {
			r.Elapsed = time.Since(s.began)
			return r, nil
		}
		if err != nil {
			return r, err
		}
		series, samples, err := count(message)
		if err != nil {
			return r, err
		}
		if r.Series == 0 && series > 0 {
			r.FirstByte = time.Since(s.began)
		}
		r.Series += series
		r.Samples += samples
		r.Bytes += int64(len(message))
	}
}

// Fields of GetMetricsResponse, TimeSeries and Sample.
const (
	fieldSeries    = 1
	fieldSynced    = 3
	fieldSamples   = 2
	fieldTimestamp = 2
)

// Count returns how many series and samples a response has.
func Count(response []byte) (series, samples int, err error) {
	return count(response, fieldSeries, fieldSamples)
}

// Synced reports whether a response marks the stream as live.
func Synced(response []byte) bool {
	n, _, err := count(response, fieldSynced, 0)
	return err == nil && n > 0
}

// EachTimestamp yields the timestamps of a response's samples, up to the first that is
// not well-formed.
func EachTimestamp(response []byte, yield func(int64)) {
	_ = each(response, fieldSeries, func(series []byte) error {
		return each(series, fieldSamples, func(sample []byte) error {
			return fields(sample, func(number protowire.Number, value []byte) error {
				if at, n := protowire.ConsumeVarint(value); number == fieldTimestamp && n > 0 {
					yield(int64(at))
				}
				return nil
			})
		})
	})
}

// Raw is a message that is not decoded.
type Raw struct{ Data mem.BufferSlice }

// Codec sends bytes or what is in a Raw, and receives into Raw.
type Codec struct{}

func (Codec) Name() string { return "proto" }

func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.(*Raw); ok {
		return raw.Data, nil
	}
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	v.(*Raw).Data = data
	return nil
}
