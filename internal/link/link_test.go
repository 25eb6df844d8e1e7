package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type server struct {
	addr    string
	metrics *Metrics
	log     *syncBuffer
	stop    func()
}

// serve runs a listener until the test ends or stop is called.
func serve(t *testing.T, o Options, h Handler) *server {
	t.Helper()
	s := &server{log: &syncBuffer{}, metrics: NewMetrics(prometheus.NewRegistry())}
	o.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Metrics = s.metrics
	l, err := Listen("127.0.0.1:0", o)
	require.NoError(t, err)
	s.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, h) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
	})
	t.Cleanup(s.stop)
	return s
}

func (s *server) rejected(reason string) int {
	return count(s.metrics.rejected.WithLabelValues(reason))
}

func count(c prometheus.Collector) int { return int(testutil.ToFloat64(c)) }

// echo sends every frame back.
func echo(_ context.Context, c *Conn, _ *linkv1.Hello) error {
	if err := c.Welcome(&linkv1.Welcome{MaxBatchBytes: 77}); err != nil {
		return err
	}
	for {
		f, err := c.Receive()
		if errors.Is(err, ErrInterrupted) || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.Send(f); err != nil {
			return err
		}
	}
}

func hello() *linkv1.Hello { return &linkv1.Hello{Role: linkv1.Role_ROLE_RECEIVER} }

func dial(t *testing.T, addr string, o Options) *Conn {
	t.Helper()
	c, w, err := Dial(context.Background(), addr, hello(), o)
	require.NoError(t, err)
	require.Equal(t, uint32(Version), w.GetVersion())
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// roundTrip proves that the connection works.
func roundTrip(t *testing.T, c *Conn, size int) {
	t.Helper()
	body := bytes.Repeat([]byte("payload "), size/8+1)[:size]
	sent := make(chan error, 1)
	go func() { sent <- c.Send(batch(42, body)) }()
	f, err := c.Receive()
	require.NoError(t, err)
	require.NoError(t, <-sent)
	require.Equal(t, uint64(42), f.GetBatch().GetId())
	require.True(t, bytes.Equal(body, f.GetBatch().GetBody()))
}

func TestHandshakeAndFrames(t *testing.T) {
	got := make(chan *linkv1.Hello, 1)
	s := serve(t, Options{Instance: "listener"}, func(ctx context.Context, c *Conn, h *linkv1.Hello) error {
		got <- h
		return echo(ctx, c, h)
	})
	m := NewMetrics(prometheus.NewRegistry())
	c, w, err := Dial(context.Background(), s.addr, hello(), Options{Instance: "dialler", Metrics: m})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, "listener", w.GetInstance())
	require.Equal(t, uint32(77), w.GetMaxBatchBytes())
	require.Equal(t, "dialler", (<-got).GetInstance())
	require.Equal(t, 1, count(m.connections.WithLabelValues("out")))
	for _, size := range []int{1, 100, copyPayload, copyPayload + 1, 3<<20 + 5} {
		roundTrip(t, c, size)
	}
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	require.Error(t, c.Send(verdict(1)))
	require.Equal(t, 0, count(m.connections.WithLabelValues("out")))
	require.Equal(t, 5, count(m.frames.WithLabelValues("out", "batch")))
	for _, direction := range []string{"in", "out"} {
		require.InDelta(t, 3<<20+5+2*copyPayload, testutil.ToFloat64(m.bytes.WithLabelValues(direction)), 400)
	}
}

func TestManySendersShareAConnection(t *testing.T) {
	s := serve(t, Options{}, echo)
	c := dial(t, s.addr, Options{})
	const senders, each = 50, 40
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for j := range each {
				size := 10
				if j%10 == 0 {
					size = copyPayload * 2
				}
				if err := c.Send(batch(uint64(i*each+j), bytes.Repeat([]byte{byte(i)}, size))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	last := make(map[uint64]uint64)
	for range senders * each {
		f, err := c.Receive()
		require.NoError(t, err)
		id := f.GetBatch().GetId()
		body := f.GetBatch().GetBody()
		require.Equal(t, len(body), bytes.Count(body, []byte{byte(id / each)}))
		require.True(t, id%each == 0 || last[id/each]+1 == id, "frames of one sender keep their order")
		last[id/each] = id
	}
	wg.Wait()
}

// TestKeptBytesStay checks that a frame which was kept is not overwritten by what
// comes after it.
func TestKeptBytesStay(t *testing.T) {
	s := serve(t, Options{}, echo)
	c := dial(t, s.addr, Options{})
	bodies, kept := map[uint64][]byte{}, map[uint64]FrameBytes{}
	for id := range uint64(20) {
		require.NoError(t, c.Send(batch(id, bytes.Repeat([]byte{byte(id)}, 1000))))
		f, err := c.Receive()
		require.NoError(t, err)
		held := c.Keep()
		if id%3 == 0 {
			held.Release()
			continue
		}
		bodies[id], kept[id] = f.GetBatch().GetBody(), held
	}
	for id := range kept {
		require.Equal(t, 1000, bytes.Count(bodies[id], []byte{byte(id)}))
	}
}

func TestTooLargeFrameLeavesTheConnection(t *testing.T) {
	s := serve(t, Options{}, echo)
	c := dial(t, s.addr, Options{})
	require.ErrorIs(t, c.Send(batch(1, make([]byte, DefaultMaxFrame))), ErrFrameTooLarge)
	roundTrip(t, c, 10)
}

func TestPeerWithTooLargeFrameIsRejected(t *testing.T) {
	s := serve(t, Options{MaxFrame: 1000}, echo)
	c := dial(t, s.addr, Options{})
	require.NoError(t, c.Send(batch(1, make([]byte, 2000))))
	_, err := c.Receive()
	var bye *GoodbyeError
	require.ErrorAs(t, err, &bye)
	require.Contains(t, bye.Reason, "limit is 1000")
	require.Equal(t, 1, s.rejected(reasonSize))
}

func TestRefused(t *testing.T) {
	s := serve(t, Options{}, func(context.Context, *Conn, *linkv1.Hello) error {
		return errors.New("receivers are not served here")
	})
	_, _, err := Dial(context.Background(), s.addr, hello(), Options{})
	var bye *GoodbyeError
	require.ErrorAs(t, err, &bye)
	require.Equal(t, "receivers are not served here", bye.Reason)
	s.stop()
	require.Equal(t, 1, s.rejected(reasonRefused))
	require.Contains(t, s.log.String(), "receivers are not served here")
}

func TestDrain(t *testing.T) {
	received := make(chan struct{})
	s := serve(t, Options{}, func(ctx context.Context, c *Conn, _ *linkv1.Hello) error {
		if err := c.Welcome(&linkv1.Welcome{}); err != nil {
			return err
		}
		f, err := c.Receive()
		if err != nil {
			return err
		}
		close(received)
		<-ctx.Done()
		for err == nil { // The context may end a moment before Receive does.
			_, err = c.Receive()
		}
		if !errors.Is(err, ErrInterrupted) {
			t.Errorf("receive while draining: %v", err)
		}
		return c.Send(verdict(f.GetBatch().GetId()))
	})
	c := dial(t, s.addr, Options{})
	require.NoError(t, c.Send(batch(9, nil)))
	<-received
	require.NoError(t, c.Send(batch(10, make([]byte, 1<<16)))) // Hardly read any more: must not cost the verdict.
	go s.stop()
	f, err := c.Receive()
	require.NoError(t, err)
	require.Equal(t, uint64(9), f.GetVerdict().GetId())
	_, err = c.Receive()
	var bye *GoodbyeError
	require.ErrorAs(t, err, &bye)
	require.Equal(t, "shutting down", bye.Reason)
	_, _, err = Dial(context.Background(), s.addr, hello(), Options{})
	require.Error(t, err)
	_ = c.Close()
	s.stop()
}

func TestHandlerThatOverstaysLosesItsConnection(t *testing.T) {
	s := serve(t, Options{DrainTimeout: 50 * time.Millisecond}, func(_ context.Context, c *Conn, _ *linkv1.Hello) error {
		if err := c.Welcome(&linkv1.Welcome{}); err != nil {
			return err
		}
		for c.Send(batch(1, make([]byte, 1<<20))) == nil { // Until the peer's buffers are full, and then forever.
		}
		return nil
	})
	dial(t, s.addr, Options{})
	start := time.Now()
	s.stop()
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestKeepalive(t *testing.T) {
	quick := Options{PingInterval: 20 * time.Millisecond, IdleTimeout: 150 * time.Millisecond}
	s := serve(t, quick, echo)
	c := dial(t, s.addr, quick)
	received := make(chan error, 1)
	go func() {
		f, err := c.Receive()
		if err == nil && f.GetVerdict().GetId() != 3 {
			err = errors.New("another frame")
		}
		received <- err
	}()
	time.Sleep(400 * time.Millisecond) // Longer than either side bears silence.
	require.NoError(t, c.Send(verdict(3)))
	require.NoError(t, <-received)
	require.Positive(t, testutil.ToFloat64(s.metrics.frames.WithLabelValues("in", "pong")))
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	ended := make(chan error, 1)
	s := serve(t, Options{IdleTimeout: 50 * time.Millisecond}, func(ctx context.Context, c *Conn, h *linkv1.Hello) error {
		err := echo(ctx, c, h)
		ended <- err
		return err
	})
	conn, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(encode(t, &linkv1.Frame{Kind: &linkv1.Frame_Hello{Hello: &linkv1.Hello{Version: Version}}}))
	require.NoError(t, err)
	require.ErrorIs(t, <-ended, ErrIdle)
}

func TestPeerThatDoesNotReadIsGivenUp(t *testing.T) {
	s := serve(t, Options{}, func(ctx context.Context, c *Conn, _ *linkv1.Hello) error {
		err := c.Welcome(&linkv1.Welcome{})
		<-ctx.Done()
		return err
	})
	c := dial(t, s.addr, Options{WriteTimeout: 100 * time.Millisecond})
	var err error
	for err == nil {
		err = c.Send(batch(1, make([]byte, 8<<20)))
	}
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.Error(t, c.Send(verdict(1)), "a broken connection stays broken")
}

func TestDialGivesUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	_, _, err = Dial(context.Background(), silent.Addr().String(), hello(), Options{HandshakeTimeout: 50 * time.Millisecond})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err = Dial(ctx, silent.Addr().String(), hello(), Options{})
	require.ErrorIs(t, err, context.Canceled)
}
