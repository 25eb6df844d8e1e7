package bound

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/golang/snappy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// The series of a response make it about as large as the project's, whose first
// one is small. There are enough of them to be unlike each other, and few enough
// to stay in the processor's caches.
const (
	perFirst    = 45
	perResponse = 360
	prefixSize  = 5 // of gRPC: a zero, and the length
)

// responses are ready to be sent, the first for the beginning.
func responses() ([][]byte, error) {
	first, err := responsesOf(1, perFirst)
	if err != nil {
		return nil, err
	}
	rest, err := responsesOf(8, perResponse)
	return append(first, rest...), err
}

// responsesOf makes them of requests of remote write 1.0: series have the same
// fields there, under the same number.
func responsesOf(n, series int) ([][]byte, error) {
	l, err := load.Make(load.Plan{
		Series: n * series, Rounds: 1, PerRequest: series, Version: 1, Interval: time.Second, Last: time.Now(),
	})
	if err != nil {
		return nil, err
	}
	all := make([][]byte, len(l.Bodies))
	for i, body := range l.Bodies {
		message, err := snappy.Decode(nil, body)
		if err != nil {
			return nil, err
		}
		all[i] = binary.BigEndian.AppendUint32(make([]byte, 1, prefixSize), uint32(len(message)))
		all[i] = append(all[i], message...)
	}
	return all, nil
}

// snapshots serves them in three ways.
func (p *part) snapshots(s *server) error {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	handler := http.NewServeMux()
	handler.HandleFunc(metricsv1connect.MetricsServiceGetMetricsProcedure, s.overHTTP)
	p.run((&http.Server{Addr: p.RPC, Handler: handler, Protocols: protocols}).ListenAndServe)
	l, err := net.Listen("tcp", p.GRPC)
	if err != nil {
		return err
	}
	g := grpc.NewServer(grpc.ForceServerCodecV2(readyCodec{}), grpc.UnknownServiceHandler(s.overGRPC))
	p.run(func() error { return g.Serve(l) })
	return p.serve(p.TCP, s.overTCP)
}

func (s *server) overHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	if s.snapshot(func(response []byte) error {
		_, err := w.Write(response)
		return err
	}) == nil {
		w.Header().Set("Grpc-Status", "0")
	}
}

func (s *server) overGRPC(_ any, stream grpc.ServerStream) error {
	var request mem.BufferSlice
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	return s.snapshot(func(response []byte) error { return stream.SendMsg(response[prefixSize:]) })
}

// readyCodec sends bytes as they are, and looks at no request.
type readyCodec struct{}

func (readyCodec) Name() string { return "proto" }

func (readyCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (readyCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

// overTCP answers a byte.
func (s *server) overTCP(conn net.Conn) error {
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return closed(err)
	}
	return closed(s.snapshot(func(response []byte) error {
		_, err := conn.Write(response)
		return err
	}))
}

// ReadTCP reads a snapshot that a server serves by TCP.
func ReadTCP(ctx context.Context, address string) (read.Result, error) {
	var r read.Result
	began := time.Now()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return r, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := answer(conn); err != nil {
		return r, err
	}
	in := bufio.NewReaderSize(conn, 256<<10)
	var message []byte
	for {
		var prefix [prefixSize]byte
		if _, err := io.ReadFull(in, prefix[:]); err != nil {
			r.Elapsed = time.Since(began)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return r, err
		}
		message = append(message[:0], make([]byte, binary.BigEndian.Uint32(prefix[1:]))...)
		if _, err := io.ReadFull(in, message); err != nil {
			return r, err
		}
		if r.Series == 0 {
			r.FirstByte = time.Since(began)
		}
		series, samples, err := read.Count(message)
		if err != nil {
			return r, err
		}
		r.Series += series
		r.Samples += samples
		r.Bytes += int64(len(message))
	}
}
