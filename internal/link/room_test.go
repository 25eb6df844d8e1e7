package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/limit"
)

const flagRoom = "--limit.room-of-tests"

// roomFor is a budget for n frames of a size, of which one peer may have a half.
func roomFor(n, size int) *limit.Budget {
	total := int64(n * buffer.Size(size))
	return limit.NewBudget(flagRoom, "bytes", total, total/2)
}

// dialFrom is dial from another address of this machine, which is another peer.
func dialFrom(t *testing.T, addr, from string) *Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	raw, err := dialer.Dial("tcp", addr)
	require.NoError(t, err)
	c := newConn(raw, Options{})
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.dialHandshake(t.Context(), hello())
	require.NoError(t, err)
	c.establish("out")
	return c
}

// begun has a connection say hello, announce a frame of a size, and send some of
// it.
func begun(t *testing.T, addr string, size, some int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	in := encode(t, &linkv1.Frame{Kind: &linkv1.Frame_Hello{Hello: &linkv1.Hello{Version: Version}}})
	_, err = conn.Write(protowire.AppendVarint(in, uint64(size)))
	require.NoError(t, err)
	go func() { // It may stand still.
		_, _ = conn.Write(zeros[:some])
	}()
	return conn
}

// zeros are what frames are made of, once for all of them.
var zeros [8 << 20]byte

// heap returns how much is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// TestUnfinishedFramesHaveTheirRoom has many connections of one peer leave the
// largest frame unfinished. They take no more than the peer's share of the room, and
// another peer's frames come all the time. The end of all gives all back.
func TestUnfinishedFramesHaveTheirRoom(t *testing.T) {
	const conns, size = 60, 4 << 20
	room := roomFor(8, size)
	s := serve(t, Options{MaxFrame: size, Room: room}, echo)
	good := dialFrom(t, s.addr, "127.0.0.2")
	roundTrip(t, good, size/2)
	before := heap()
	var stalled []net.Conn
	for range conns {
		stalled = append(stalled, begun(t, s.addr, size, size-1))
	}
	require.Eventually(t, func() bool { return room.Used() == room.Share() && room.Waiting() == conns-4 }, 20*time.Second, 5*time.Millisecond)
	most := before + uint64(room.Share()) + conns*2*readStep + 4*size // readers and stacks, and the test's own frames
	for range 20 {
		roundTrip(t, good, size/2)
		require.Less(t, heap(), most)
	}
	for _, c := range stalled {
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return room.Used() == 0 && room.Waiting() == 0 }, 20*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return heap() < before+size }, 20*time.Second, 50*time.Millisecond)
}

// TestBegunFramesEnd has more large frames under way than there is room for, in
// pieces that are sent by turns. All of them arrive.
func TestBegunFramesEnd(t *testing.T) {
	const conns, size = 12, 1 << 20
	room := roomFor(4, size+FrameRoom)
	s := serve(t, Options{Room: room}, echo)
	var all []*Conn
	for range conns {
		all = append(all, dial(t, s.addr, Options{}))
	}
	ended := make(chan error, conns)
	for i, c := range all {
		go func() { ended <- c.Send(batch(uint64(i), make([]byte, size))) }()
	}
	for i, c := range all {
		f, err := c.Receive()
		require.NoError(t, err)
		require.Equal(t, uint64(i), f.GetBatch().GetId())
		require.NoError(t, <-ended)
	}
}

// TestSlowFrameIsEnded has a peer send a byte of a frame now and then: it is heard
// from, but does not get on.
func TestSlowFrameIsEnded(t *testing.T) {
	room := roomFor(4, progressStep+1)
	s := serve(t, Options{IdleTimeout: 200 * time.Millisecond, Room: room}, echo)
	for name, some := range map[string]int{"at its beginning": 1, "in its last step": progressStep} {
		t.Run(name, func(t *testing.T) {
			before := s.rejected(reasonSlow)
			conn := begun(t, s.addr, progressStep+1<<10, some)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						_, _ = conn.Write([]byte{0})
					}
				}
			}()
			require.Eventually(t, func() bool { return s.rejected(reasonSlow) == before+1 }, 30*time.Second, 5*time.Millisecond)
			require.Eventually(t, func() bool { return room.Used() == 0 }, 30*time.Second, 5*time.Millisecond)
			close(stop)
			<-stopped
		})
	}
	require.Contains(t, s.log.String(), "does not get on")
}

// TestWaitingForRoom checks that who waits for room is not taken for silent, gets it
// in the end, and that an interrupted or closed connection does not wait.
func TestWaitingForRoom(t *testing.T) {
	const size = 1 << 20
	quick := Options{PingInterval: 100 * time.Millisecond, IdleTimeout: time.Second, Room: roomFor(2, size+FrameRoom)}
	frames, kept := make(chan uint64), make(chan FrameBytes, 1)
	ended := make(chan error, 3)
	s := serve(t, quick, func(_ context.Context, c *Conn, _ *linkv1.Hello) error {
		err := c.Welcome(&linkv1.Welcome{})
		for err == nil {
			var f *linkv1.Frame
			if f, err = c.Receive(); err == nil {
				kept <- c.Keep()
				frames <- f.GetBatch().GetId()
			}
		}
		ended <- err
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
	send := func(id uint64) *Conn {
		c := dial(t, s.addr, quick)
		go func() { _ = c.Send(batch(id, make([]byte, size))) }()
		go func() { // Pongs.
			for _, err := c.Receive(); err == nil; _, err = c.Receive() {
			}
		}()
		return c
	}
	send(1)
	require.EqualValues(t, 1, <-frames)
	first := <-kept
	second := send(2)
	require.Eventually(t, func() bool { return quick.Room.Waiting() == 1 }, 30*time.Second, time.Millisecond)
	time.Sleep(2 * quick.IdleTimeout)
	require.Empty(t, ended)
	first.Release()
	require.EqualValues(t, 2, <-frames)

	third := send(3)
	require.Eventually(t, func() bool { return quick.Room.Waiting() == 1 }, 30*time.Second, time.Millisecond)
	s.stop()
	for range 3 {
		require.ErrorIs(t, <-ended, ErrInterrupted)
	}
	require.Zero(t, quick.Room.Waiting())
	_, _ = second.Close(), third.Close()
	second2 := <-kept
	second2.Release()
	second2.Release()
	require.Zero(t, quick.Room.Used())
}

// TestStrangersAreCheap checks that connections that have not said hello take
// next to nothing.
func TestStrangersAreCheap(t *testing.T) {
	const conns = 200
	s := serve(t, Options{HandshakeTimeout: time.Minute}, echo)
	before := heap()
	for range conns {
		conn, err := net.Dial("tcp", s.addr)
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write(protowire.AppendVarint(nil, maxHandshake))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return heap() > before+conns*maxHandshake }, 20*time.Second, 10*time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	require.Less(t, heap(), before+conns*(readStep/2))
}

// TestPingsThatNobodyReads has a peer ask for pongs as fast as it can and read none.
// They are not kept for it, and no more are looked at than so many in a second.
func TestPingsThatNobodyReads(t *testing.T) {
	const seconds = 3
	const pings = (seconds + 1) * keepaliveRate
	start := time.Now()
	s := serve(t, Options{}, echo)
	before := heap()
	in := encode(t, &linkv1.Frame{Kind: &linkv1.Frame_Hello{Hello: &linkv1.Hello{Version: Version}}})
	conn, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(in)
	require.NoError(t, err)
	some := bytes.Repeat(encode(t, &linkv1.Frame{Kind: &linkv1.Frame_Ping{Ping: &linkv1.Ping{Id: 1}}}), keepaliveRate)
	for range pings / keepaliveRate {
		_, err := conn.Write(some)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return count(s.metrics.frames.WithLabelValues("in", "ping")) == pings }, time.Minute, 10*time.Millisecond)
	require.GreaterOrEqual(t, time.Since(start), seconds*time.Second)
	require.Less(t, heap(), before+1<<20)
}

// TestMemoryOfRandomFrames makes up frames, and looks for those that become much
// larger than they are.
func TestMemoryOfRandomFrames(t *testing.T) {
	worst, of := 0.0, ""
	for seed := range uint64(3000) {
		in := randomFrame(seed)
		ratio := ratioOf(in)
		if ratio > worst {
			worst, of = ratio, kindNames[in[0]>>3]
		}
	}
	t.Logf("at worst %.1f bytes for one of a %s", worst, of)
	// 16 bytes for each empty string of two, in slices that double.
	require.Less(t, worst, 64.0)
}

// ratioOf is how many bytes of memory are allocated for one of a frame, apart from
// what each frame costs.
func ratioOf(in []byte) float64 {
	const each = 2 << 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, _, _ := parseFrame(in)
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(f)
	return float64(after.TotalAlloc-before.TotalAlloc-min(each, after.TotalAlloc-before.TotalAlloc)) / float64(len(in))
}
