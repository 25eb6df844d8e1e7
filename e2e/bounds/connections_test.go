package bounds

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// TestConnections has connections attack a server, which has few files that it may
// open.
func TestConnections(t *testing.T) {
	r := newRig(t, harness.Options{OpenFiles: openFiles})
	server := r.Servers[0]
	r.withstands(t, []attack{
		{name: "streams of one connection", callers: 2, once: manyStreams, streams: 2 * 1000},
		{name: "rapid resets", callers: 5, once: rapidResets},
		{name: "connections to the API", callers: openFiles, once: connection("rpc", server)},
		{name: "connections to the link", callers: openFiles, once: connection("link", server)},
		{name: "connections to the operator's port", callers: openFiles, once: connection("web", server)},
		{name: "connections to the receiver", callers: openFiles, once: connection("web", r.Receiver)},
		{name: "slow bodies of calls", callers: 64, once: slowCall},
	})
	r.fallsBack(t, 0)
}

// openFiles of each process: less than one attacker tries to take.
const openFiles = 512

// h2 is a connection of HTTP/2 that does what it likes.
type h2 struct {
	conn   net.Conn
	framer *http2.Framer
	header bytes.Buffer
	encode *hpack.Encoder
	next   uint32
}

func (a *attacker) h2(ctx context.Context) (*h2, error) {
	conn, err := a.dialer.DialContext(ctx, "tcp", a.r.RPC(0))
	if err != nil {
		return nil, err
	}
	c := &h2{conn: conn, framer: http2.NewFramer(conn, conn), next: 1}
	c.encode = hpack.NewEncoder(&c.header)
	_ = conn.SetDeadline(time.Now().Add(*boundsFor))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = c.framer.WriteSettings()
	return c, nil
}

// open begins a stream that follows everything.
func (c *h2) open(address string) error {
	c.header.Reset()
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":authority", address}, {":path", metricsv1connect.MetricsServiceGetMetricsProcedure},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		_ = c.encode.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // A buffer takes all.
	}
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: c.header.Bytes(), EndHeaders: true})
	c.next += 2
	return err
}

// message is the request of a stream, as gRPC has it.
func message() []byte {
	data, _ := proto.Marshal(&metricsv1.GetMetricsRequest{Selectors: []string{"nothing"}, Follow: true}) // It is valid.
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
}

// manyStreams opens as many streams as the connection takes, and more.
func manyStreams(ctx context.Context, a *attacker, _ int) string {
	c, err := a.h2(ctx)
	if err != nil {
		return brief(err.Error())
	}
	defer c.conn.Close()
	refused := make(chan int)
	go func() {
		n := 0
		for {
			f, err := c.framer.ReadFrame()
			if err != nil {
				refused <- n
				return
			}
			if _, ok := f.(*http2.RSTStreamFrame); ok {
				n++
			}
		}
	}()
	for range a.r.configs.Server.Streams {
		if err = c.open(a.r.RPC(0)); err != nil {
			break
		}
		if err = c.framer.WriteData(c.next-2, true, message()); err != nil {
			break
		}
	}
	if n := <-refused; n > 0 {
		return "streams refused"
	}
	return brief(fmt.Sprint(err))
}

// rapidResets gives up each stream as soon as it has begun.
func rapidResets(ctx context.Context, a *attacker, _ int) string {
	c, err := a.h2(ctx)
	if err != nil {
		return brief(err.Error())
	}
	defer c.conn.Close()
	go func() { _, _ = io.Copy(io.Discard, c.conn) }()
	for {
		if err := c.open(a.r.RPC(0)); err != nil {
			return brief(err.Error())
		}
		if err := c.framer.WriteRSTStream(c.next-2, http2.ErrCodeCancel); err != nil {
			return brief(err.Error())
		}
	}
}

// connection is one that says nothing.
func connection(listener string, p *harness.Process) func(context.Context, *attacker, int) string {
	return func(ctx context.Context, a *attacker, _ int) string {
		conn, err := a.dialer.DialContext(ctx, "tcp", p.Listening(listener))
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			return brief(err.Error())
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(*boundsFor))
		what := hold(conn)
		time.Sleep(100 * time.Millisecond)
		return what
	}
}

// slowCall announces a request and sends next to nothing of it.
func slowCall(ctx context.Context, a *attacker, _ int) string {
	conn, err := a.dialer.DialContext(ctx, "tcp", a.r.RPC(0))
	if err != nil {
		return brief(err.Error())
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: server\r\nContent-Type: application/proto\r\nContent-Length: %d\r\n\r\n",
		metricsv1connect.MetricsServiceGetStatusProcedure, longest())
	return trickle(ctx, conn, *boundsFor)
}

// trickle writes a byte now and then, until the time is over or the peer has had
// enough.
func trickle(ctx context.Context, conn net.Conn, how time.Duration) string {
	end := time.Now().Add(how)
	_ = conn.SetDeadline(end)
	go func() {
		for time.Now().Before(end) && ctx.Err() == nil {
			if _, err := conn.Write([]byte{0}); err != nil {
				return
			}
			time.Sleep(500 * time.Millisecond)
		}
	}()
	return hold(conn)
}
