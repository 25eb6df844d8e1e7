// Package bound measures floors: what each step of the problem costs when it is done
// alone, in the plainest way that Go offers. It is written from the problem rather
// than from the project, so that changes of the project need no edit here.
//
//	receiver    read and answer an HTTP request; send its body through a socket
//	forwarder   receive the body; decompress it; hash the labels of each series, and
//	            compare the hash with the expected one; write a varint for each value;
//	            checksum, write(2), fdatasync; send the log to each server
//	server      receive the log; write(2)
//
// A new series costs an entry in a map, a number for each of its labels, and in the
// server a posting for each. A snapshot sends bytes that are ready.
//
// Each floor is a lower bound, and so is their sum. They leave out validation, limits,
// metrics, scheduling, acknowledgements between processes, readable state, memory to be
// mapped, and garbage collection, so no pipeline reaches them.
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

// Main is the process for the floors that need one. At the address web, net/http
// reads write requests and sends snapshots of a number of a profile's series; at
// rpc, grpc-go sends them. It returns when either of them fails.
func Main(web, rpc, profile, series string) error {
	named, err := load.Find(profile)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(series)
	if err != nil {
		return err
	}
	s, err := ready(named, n)
	if err != nil {
		return err
	}
	// Collect garbage only when memory is about to run out.
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
	mux := http.NewServeMux()
	mux.HandleFunc("/", readBody)
	mux.HandleFunc(metricsv1connect.MetricsServiceGetMetricsProcedure, s.overHTTP)
	h := &http.Server{Addr: web, Handler: mux, Protocols: new(http.Protocols)}
	h.Protocols.SetHTTP1(true)
	h.Protocols.SetUnencryptedHTTP2(true)
	go func() { failed <- h.ListenAndServe() }()
	return <-failed
}

var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// readBody reads a body into a buffer that is reused.
func readBody(w http.ResponseWriter, r *http.Request) {
	buffer := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buffer)
	for err := error(nil); err == nil; {
		_, err = r.Body.Read(buffer[:])
	}
	w.WriteHeader(http.StatusNoContent)
}

// snapshot holds encoded messages with gRPC's prefix: the first has one series, and
// the other, which is sent repeatedly, has perMessage.
type snapshot struct {
	first, message []byte
	series         int
}

const (
	perMessage = 360 // a little less than 128 KiB
	prefixSize = 5
)

// ready makes the messages from a remote-write 1.0 request, whose series have the same
// field numbers as those of a response.
func ready(profile *load.Profile, series int) (*snapshot, error) {
	l, err := load.Make(load.Plan{
		Profile: profile, Series: perMessage, Rounds: 1, PerRequest: perMessage, Version: 1, Interval: time.Second, Last: time.Now(),
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

// each yields messages until they hold all series; the last one may have more.
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
