package server_test

import (
	"context"
	"crypto/rand"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
)

// heap is how much memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// A peer that is not the forwarder leaves the largest frames unfinished, each for
// another log. They take its share of --limit.link-bytes and no more, the forwarder's
// log goes on, and afterwards the memory is free again.
func TestUnfinishedPieces(t *testing.T) {
	const conns = 40
	c := testConfig(t)
	src := newSource(t)
	src.write(point{series: `m`, v: 1, t: now()})
	s := startFed(t, c, src)
	const size = 48 << 20 // of the segment format's largest frame
	zeros := make([]byte, 1<<20)
	var stalled []net.Conn
	for range conns {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		conn, err := dialer.DialContext(t.Context(), "tcp", s.LinkAddr().String())
		require.NoError(t, err)
		stalled = append(stalled, conn)
		id := make([]byte, 16)
		_, _ = rand.Read(id)
		hello, err := proto.Marshal(&linkv1.Frame{Kind: &linkv1.Frame_Hello{Hello: &linkv1.Hello{
			Version: link.Version, Role: linkv1.Role_ROLE_FORWARDER, LogId: id,
		}}})
		require.NoError(t, err)
		_, err = conn.Write(append(protowire.AppendVarint(nil, uint64(len(hello))), hello...))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_link_connections") == conns+1 }, 20*time.Second, 10*time.Millisecond)
	before := heap()
	for _, conn := range stalled {
		_, err := conn.Write(protowire.AppendVarint(nil, size))
		require.NoError(t, err)
		go func() { // It may stand still.
			for range size/len(zeros) - 1 {
				if _, err := conn.Write(zeros); err != nil {
					return
				}
			}
		}()
	}
	most := int64(0)
	for range 20 {
		src.write(point{series: `m`, v: 1, t: now()})
		s.await(t, src)
		time.Sleep(20 * time.Millisecond)
		most = max(most, heap()-before)
	}
	// What a connection needs besides, at either end.
	require.Less(t, most, int64(c.LinkBytes)*int64(c.PeerShare)/100+conns*512<<10)
	require.Greater(t, most, int64(size/2), "frames were being read")
	for _, conn := range stalled {
		require.NoError(t, conn.Close())
	}
	require.Eventually(t, func() bool { return heap()-before < size/2 }, 20*time.Second, 50*time.Millisecond)
}

// A frame that is larger than any of a forwarder ends its connection as soon as its
// length is known.
func TestTooLargeForALink(t *testing.T) {
	s := start(t, testConfig(t))
	id := make([]byte, 16)
	id[0] = 1
	c, _, err := link.Dial(context.Background(), s.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id}, link.Options{})
	require.NoError(t, err)
	defer c.Close()
	go func() {
		_ = c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Append{Append: &linkv1.SegmentAppend{Data: make([]byte, link.DefaultMaxFrame-link.FrameRoom)}}})
	}()
	for err == nil {
		_, err = c.Receive()
	}
	require.Eventually(t, func() bool { return s.metricOf(t, "promgrpc_link_rejected_total", "size") == 1 }, 30*time.Second, 10*time.Millisecond)
}
