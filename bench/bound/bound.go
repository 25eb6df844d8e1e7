// Package bound measures floors: what each step of the problem costs if it is done
// alone, in the plainest way that Go has, and nothing else is. It is written from
// the problem rather than from the project, so no change of the project owes it an
// edit.
//
//	receiver    an HTTP request is read and answered; its body goes on by a socket
//	forwarder   the body comes; snappy; the labels of each series are hashed, and the
//	            hash is compared with the one expected; a varint for each value;
//	            checksum, write(2), fdatasync; the log goes to each server by a socket
//	server      the log comes; write(2)
//
// A series that is new costs an entry in a map, a number for each of its labels, and
// in the server a posting for each. A snapshot is bytes that are ready to be sent.
//
// The floors are lower bounds, singly and in sum: they leave out validation, limits,
// metrics, waiting and waking, acknowledgements between the processes, state that can
// be read, and the collection of garbage. Nobody can reach them.
package bound

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// Command is the argument by which the benchmark's program becomes Main.
const Command = "bound"

// Main serves the floors that need a process of their own: net/http at the first
// address takes requests and sends a snapshot of a number of series, grpc-go at the
// second sends one, too. It returns when one of them fails.
func Main(web, rpc, series string) error {
	n, err := strconv.Atoi(series)
	if err != nil {
		return err
	}
	s, err := ready(n)
	if err != nil {
		return err
	}
	// Garbage is collected where memory is about to run out, not before.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(2 << 30)
	l, err := net.Listen("tcp", rpc)
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() {
		failed <- grpc.NewServer(grpc.ForceServerCodecV2(read.Codec{}), grpc.UnknownServiceHandler(s.overGRPC)).Serve(l)
	}()
	h := &http.Server{Addr: web, Handler: http.NewServeMux(), Protocols: new(http.Protocols)}
	h.Protocols.SetHTTP1(true)
	h.Protocols.SetUnencryptedHTTP2(true)
	h.Handler.(*http.ServeMux).HandleFunc("/", take)
	h.Handler.(*http.ServeMux).HandleFunc(metricsv1connect.MetricsServiceGetMetricsProcedure, s.overHTTP)
	go func() { failed <- h.ListenAndServe() }()
	return <-failed
}

var pieces = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// take reads a body into memory that is used again.
func take(w http.ResponseWriter, r *http.Request) {
	piece := pieces.Get().(*[256 << 10]byte)
	defer pieces.Put(piece)
	for err := error(nil); err == nil; {
		_, err = r.Body.Read(piece[:])
	}
	w.WriteHeader(http.StatusNoContent)
}

// snapshot is messages that are ready, each with the prefix of gRPC: the first has
// one series, and the other, which is sent again and again, perMessage.
type snapshot struct {
	first, message []byte
	series         int
}

const (
	perMessage = 360 // a little less than 128 KiB
	prefixSize = 5
)

// ready makes the messages of a request of remote write 1.0, which has series under
// the same number and with the same fields.
func ready(series int) (*snapshot, error) {
	l, err := load.Make(load.Plan{
		Series: perMessage, Rounds: 1, PerRequest: perMessage, Version: 1, Interval: time.Second, Last: time.Now(),
	})
	if err != nil {
		return nil, err
	}
	var r request
	if err := r.decompress(l.Bodies[0]); err != nil {
		return nil, err
	}
	prefixed := func(message []byte) []byte {
		return append(binary.BigEndian.AppendUint32(make([]byte, 1), uint32(len(message))), message...)
	}
	return &snapshot{prefixed(r.raw[:r.field(0).to]), prefixed(r.raw), series}, nil
}

// each yields messages that hold all series, and some more for the last to be whole.
func (s *snapshot) each(yield func(message []byte) error) error {
	err := yield(s.first)
	for sent := 1; err == nil && sent < s.series; sent += perMessage {
		err = yield(s.message)
	}
	return err
}

func (s *snapshot) overHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	if s.each(func(message []byte) error {
		_, err := w.Write(message)
		return err
	}) == nil {
		w.Header().Set("Grpc-Status", "0")
	}
}

func (s *snapshot) overGRPC(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(new(read.Raw)); err != nil {
		return err
	}
	return s.each(func(message []byte) error { return stream.SendMsg(message[prefixSize:]) })
}
