package server_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

// Clients that open streams and reset them at once, as fast as they can, on many
// connections, do not stop a follower and take no memory.
func TestRapidResets(t *testing.T) {
	const attackers = 20
	src := newSource(t)
	src.append(tenLabels(0, 20000))
	c := testConfig(t)
	s := startFed(t, c, src)
	recv := openGRPC(t, t.Context(), s.RPCAddr().String(), &getRequest{Follow: true, Selectors: []string{"canary"}})
	until(t, recv, isSynced)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var resets atomic.Int64
	for range attackers {
		wg.Go(func() {
			for ctx.Err() == nil {
				resetStreams(ctx, s.RPCAddr().String(), &resets)
			}
		})
	}
	// More goroutines than this would be handlers beyond those that run.
	routines := runtime.NumGoroutine() + attackers*(c.ConnStreams+10)
	for i := int64(1); i <= 20 || resets.Load() < attackers*int64(c.CallRate); i++ {
		src.write(point{series: "canary", t: i, v: 1})
		untilWithin(t, 5*patience, recv, func(r *getResponse) bool { return len(r.GetTimeseries()) > 0 })
		require.Less(t, runtime.NumGoroutine(), routines)
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	wg.Wait()
}

// resetStreams opens and resets streams on one connection until that ends.
func resetStreams(ctx context.Context, address string, n *atomic.Int64) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	out := bufio.NewWriterSize(conn, 64<<10)
	_, _ = out.WriteString(http2.ClientPreface)
	f := http2.NewFramer(out, conn)
	_ = f.WriteSettings()
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	var headers bytes.Buffer
	e := hpack.NewEncoder(&headers)
	for id := uint32(1); ; id += 2 {
		headers.Reset()
		for _, h := range []hpack.HeaderField{
			{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "test"},
			{Name: ":path", Value: metricsv1grpc.MetricsService_GetMetrics_FullMethodName},
			{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
		} {
			_ = e.WriteField(h)
		}
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headers.Bytes(), EndHeaders: true})
		_ = f.WriteData(id, true, make([]byte, 5))
		if f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			return
		}
		n.Add(1)
	}
}
