package forwarder

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// diskServer keeps replicas, and confirms what is on its disk when the test lets it.
type diskServer struct {
	t     *testing.T
	addr  string
	store *seglog.Store
	stop  func()

	mu     sync.Mutex
	silent bool
	// late has what is on the disk told at once after the welcome, which says nothing of it.
	late     bool
	replicas map[*link.Conn]*seglog.Mirror
}

func serveDisk(t *testing.T, instance, addr string) *diskServer {
	t.Helper()
	l, err := link.Listen(addr, link.Options{Logger: discard, Instance: instance})
	require.NoError(t, err)
	s := &diskServer{t: t, addr: l.Addr().String(), replicas: map[*link.Conn]*seglog.Mirror{}}
	s.store, err = seglog.OpenStore(t.TempDir(), seglog.DefaultOptions())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Run(ctx, s.serve)
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		require.NoError(t, s.store.Close())
	})
	t.Cleanup(s.stop)
	return s
}

func (s *diskServer) serve(_ context.Context, c *link.Conn, hello *linkv1.Hello) error {
	if !hello.GetDurable() {
		s.t.Error("nobody asks for what is durable")
	}
	m, err := s.store.OpenMirror(segment.LogID(hello.GetLogId()), head.New())
	if err != nil {
		return err // The one before has not ended yet.
	}
	defer m.Close()
	welcome := &linkv1.Welcome{Position: s.position(m)}
	s.mu.Lock()
	late := s.late && welcome.Position != nil
	s.mu.Unlock()
	if late {
		welcome.Position.Durable = 0
	}
	if err := c.Welcome(welcome); err != nil {
		return err
	}
	s.mu.Lock()
	s.replicas[c] = m
	s.mu.Unlock()
	// What the welcome did not say for being late, or silent a moment ago.
	if welcome.GetPosition().GetDurable() < welcome.GetPosition().GetSequence() {
		s.tell(c, m)
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.replicas, c)
	}()
	for {
		f, err := c.Receive()
		if err != nil {
			return err
		}
		switch k := f.GetKind().(type) {
		case *linkv1.Frame_Tail:
			continue
		case *linkv1.Frame_Fetch:
			l := m.Log()
			err = logship.Send(context.Background(), l, k.Fetch.GetAfterSequence(), logship.Frames{Conn: c},
				logship.Options{More: func(after uint64) bool { return after < l.Last() }})
			if err != nil {
				return err
			}
			continue
		}
		if err := logship.Deliver(f, keeping{m, &replicaServer{}}); err != nil {
			return err
		}
		s.tell(c, m)
	}
}

func (s *diskServer) tell(c *link.Conn, m *seglog.Mirror) {
	if p := s.position(m); p != nil {
		_ = c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Position{Position: p}})
	}
}

// position says what a replica has and, unless the server is silent, what of it is on the
// disk.
func (s *diskServer) position(m *seglog.Mirror) *linkv1.Position {
	sequence, sum, ok := m.Position()
	if !ok {
		return nil
	}
	id := m.Log().ID()
	p := &linkv1.Position{LogId: id[:], Sequence: sequence, Checksum: sum}
	s.mu.Lock()
	silent := s.silent
	s.mu.Unlock()
	if !silent {
		p.Durable, _ = m.Sync()
	}
	return p
}

// silence has the server confirm nothing, or all that it has.
func (s *diskServer) silence(silent bool) {
	s.mu.Lock()
	s.silent = silent
	replicas := map[*link.Conn]*seglog.Mirror{}
	for c, m := range s.replicas {
		replicas[c] = m
	}
	s.mu.Unlock()
	for c, m := range replicas {
		s.tell(c, m)
	}
}

func ackConfig(t *testing.T, dir string, timeout time.Duration, servers ...*diskServer) Config {
	c := testConfig(dir)
	c.AckServers, c.AckTimeout = 1, timeout
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.addr)
	}
	c.Server = strings.Join(addrs, ",")
	return c
}

const (
	unconfirmed = linkv1.Code_CODE_UNCONFIRMED
	patient     = 20 * time.Second // below the largest
	impatient   = 100 * time.Millisecond
)

// pageOf is what /-/ready says.
func (r *running) pageOf() (int, string) {
	r.t.Helper()
	res, err := http.Get("http://" + r.ops.Addr().String() + "/-/ready")
	require.NoError(r.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	return res.StatusCode, string(text)
}

// A request is answered when a server has it on its disk, with parts that were refused or
// without. One of which nothing was stored is answered at once.
func TestAnsweredWhenConfirmed(t *testing.T) {
	server := serveDisk(t, "a", "127.0.0.1:0")
	server.silence(true)
	c := ackConfig(t, t.TempDir(), patient, server)
	c.RequestBytes = 4096
	r := start(t, c)
	s := r.sender()
	stored := s.post(v1, bodyOf(t, v1, one(1, 5, "__name__", "a")))
	partly := s.post(v1, bodyOf(t, v1, one(1, 6, "__name__", "a"), one(1, 6, "job", "nameless")))
	large := s.post(v1, make([]byte, 8192))
	wrong := s.post(v1, []byte("no snappy"))
	repeated := s.post(v1, bodyOf(t, v1, one(1, 5, "__name__", "a")))
	for _, id := range []uint64{large, wrong} {
		v := s.verdict()
		require.Contains(t, []uint64{large, wrong}, v.GetId(), "%d: %v", id, v)
	}
	eventually(t, "stored at the server", func() bool {
		l, _ := r.appender.log()
		return l.Last() == 2 && len(server.store.Opened()) == 1 && server.store.Opened()[0].Last() == 2
	})
	require.Zero(t, testutil.ToFloat64(r.in.metrics.batches.WithLabelValues(ok.String())), "nobody has confirmed it")
	server.silence(false)
	got := map[uint64]linkv1.Code{}
	for range 3 {
		v := s.verdict()
		got[v.GetId()] = v.GetCode()
	}
	require.Equal(t, map[uint64]linkv1.Code{stored: ok, partly: invalid, repeated: ok}, got)
	require.Equal(t, 1.0, testutil.ToFloat64(r.in.metrics.ackServers))
	require.Equal(t, 1.0, testutil.ToFloat64(r.in.metrics.ackRequired))
	status, text := r.pageOf()
	require.Equal(t, "200 ready\n", fmt.Sprint(status, " ", text))
}

// Without enough servers a request is stored, and the sender is told so. Each repeat waits
// for the same, also after a restart and when the log was opened again, and stores nothing.
func TestRepeatsWaitForTheSame(t *testing.T) {
	server := serveDisk(t, "a", "127.0.0.1:0")
	server.silence(true)
	dir := t.TempDir()
	c := ackConfig(t, dir, impatient, server)
	r := start(t, c)
	s := r.sender()
	body := bodyOf(t, v1, one(1, 5, "__name__", "a"))
	for range 3 {
		v := s.send(v1, body)
		require.Equal(t, unconfirmed, v.GetCode())
		require.Contains(t, v.GetErrors()[0], "block 1 of log")
		require.Contains(t, v.GetErrors()[0], "--ack.servers")
	}
	require.Equal(t, 3.0, testutil.ToFloat64(r.in.metrics.batches.WithLabelValues(unconfirmed.String())))

	// Other bytes that bring nothing new are answered by what they repeat.
	require.Equal(t, unconfirmed, s.send(v2, bodyOf(t, v2, one(1, 5, "__name__", "a"))).GetCode())

	r.appender.failed(r.appender.state, errBroken)
	require.Equal(t, unconfirmed, s.settled(v1, body).GetCode())
	_ = s.conn.Close()
	r.stop()
	r = start(t, c)
	s = r.sender()
	require.Equal(t, unconfirmed, s.send(v1, body).GetCode())
	require.Len(t, r.blocks(), 1)
	server.silence(false)
	eventually(t, "confirmed", func() bool { return s.send(v1, body).GetCode() == ok })
	require.Len(t, r.blocks(), 1)
}

// A verdict that waits for a server while the log is opened again is given when that
// server has confirmed it.
func TestReopenedWhileWaiting(t *testing.T) {
	server := serveDisk(t, "a", "127.0.0.1:0")
	server.silence(true)
	r := start(t, ackConfig(t, t.TempDir(), patient, server))
	s := r.sender()
	id := s.post(v1, bodyOf(t, v1, one(1, 5, "__name__", "a")))
	eventually(t, "waiting", func() bool {
		r.in.confirming.mu.Lock()
		defer r.in.confirming.mu.Unlock()
		return len(r.in.confirming.held) == 1
	})
	r.appender.failed(r.appender.state, errBroken)
	eventually(t, "opened again", func() bool { return testutil.ToFloat64(r.in.metrics.reopened) == 1 })
	server.silence(false)
	v := s.verdict()
	require.Equal(t, ok, v.GetCode())
	require.Equal(t, id, v.GetId())
}

// A request in a log that has ended waits until that log's block is confirmed.
func TestRepeatsFromAnEndedLog(t *testing.T) {
	for _, how := range []string{"restarted", "renewed"} {
		t.Run(how, func(t *testing.T) {
			server := serveDisk(t, "a", "127.0.0.1:0")
			server.silence(true)
			dir := t.TempDir()
			c := ackConfig(t, dir, impatient, server)
			r := start(t, c)
			s := r.sender()
			body := bodyOf(t, v1, one(1, 5, "__name__", "a"))
			require.Equal(t, unconfirmed, s.send(v1, body).GetCode())
			l, _ := r.appender.log()
			if how == "restarted" {
				_ = s.conn.Close()
				r.stop()
				require.NoError(t, os.Remove(filepath.Join(dir, l.ID().String(), "end")))
				r = start(t, c)
				s = r.sender()
			} else {
				r.appender.report(&divergence{&logship.DivergedError{Log: l.ID(), Reason: "the test says so"}, true})
			}
			eventually(t, "another log", func() bool {
				now, _ := r.appender.log()
				return now.ID() != l.ID()
			})
			v := s.settled(v1, body)
			require.Equal(t, unconfirmed, v.GetCode())
			require.Contains(t, v.GetErrors()[0], "block 1 of log "+l.ID().String())
			// What the new log has of it is in its keyframe, which nobody can confirm alone.
			v = s.settled(v2, bodyOf(t, v2, one(1, 5, "__name__", "a")))
			require.Equal(t, unconfirmed, v.GetCode())
			require.Contains(t, v.GetErrors()[0], "block 1 of log "+l.ID().String())
			server.silence(false)
			eventually(t, "confirmed", func() bool { return s.settled(v1, body).GetCode() == ok })
			require.Empty(t, r.blocks(), "in the new log")
			s.mustStore(v1, bodyOf(t, v1, one(2, 6, "__name__", "a")))
		})
	}
}

// What is stored of a request in an ended log is waited for under other limits, too.
func TestRaisedLimitAfterTheLogEnded(t *testing.T) {
	server := serveDisk(t, "a", "127.0.0.1:0")
	server.silence(true)
	dir := t.TempDir()
	c := ackConfig(t, dir, impatient, server)
	c.Limits.ValueBytes = 10
	body := bodyOf(t, v1, one(1, 5, "__name__", "a"), one(1, 5, "__name__", "b", "long", strings.Repeat("x", 20)))
	r := start(t, c)
	s := r.sender()
	require.Equal(t, unconfirmed, s.send(v1, body).GetCode())
	l, _ := r.appender.log()
	_ = s.conn.Close()
	r.stop()
	require.NoError(t, os.Remove(filepath.Join(dir, l.ID().String(), "end")))

	c.Limits.ValueBytes = 100
	r = start(t, c)
	s = r.sender()
	v := s.settled(v1, body)
	require.Equal(t, unconfirmed, v.GetCode())
	require.Contains(t, v.GetErrors()[0], l.ID().String())
	server.silence(false)
	eventually(t, "confirmed", func() bool { return s.settled(v1, body).GetCode() != unconfirmed })
}

// One server counts once, however often discovery has it.
func TestOneServerListedTwice(t *testing.T) {
	one1, other := serveDisk(t, "a", "127.0.0.1:0"), serveDisk(t, "a", "127.0.0.1:0")
	c := ackConfig(t, t.TempDir(), impatient, one1, other)
	c.AckServers = 2
	r := start(t, c)
	s := r.sender()
	body := bodyOf(t, v1, one(1, 5, "__name__", "a"))
	eventually(t, "both are connected", func() bool {
		r.in.confirming.mu.Lock()
		defer r.in.confirming.mu.Unlock()
		return testutil.ToFloat64(r.in.metrics.ackServers) == 1
	})
	v := s.send(v1, body)
	require.Equal(t, unconfirmed, v.GetCode())
	require.Contains(t, v.GetErrors()[0], "of which 1 are connected")
	status, text := r.pageOf()
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, "1 of the 2 servers are connected")
}

// Answers that are waited for when the forwarder ends are given while servers can still
// confirm them.
func TestEndWaitsForServers(t *testing.T) {
	server := serveDisk(t, "a", "127.0.0.1:0")
	server.silence(true)
	r := start(t, ackConfig(t, t.TempDir(), patient, server))
	s := r.sender()
	s.post(v1, bodyOf(t, v1, one(1, 5, "__name__", "a")))
	eventually(t, "waiting", func() bool {
		r.in.confirming.mu.Lock()
		defer r.in.confirming.mu.Unlock()
		return len(r.in.confirming.held) == 1
	})
	ended := make(chan struct{})
	go func() {
		r.stop()
		close(ended)
	}()
	time.Sleep(2 * settle) // longer than servers get otherwise
	server.silence(false)
	require.Equal(t, ok, s.verdict().GetCode())
	_ = s.conn.Close()
	<-ended
}

// Servers come, go and come back while requests are written, and everything is answered
// in the end. What was answered well is at a server.
func TestServersComeAndGo(t *testing.T) {
	first := serveDisk(t, "a", "127.0.0.1:0")
	second := serveDisk(t, "b", "127.0.0.1:0")
	r := start(t, ackConfig(t, t.TempDir(), time.Second, first, second))
	var senders sync.WaitGroup
	for i := range 4 {
		s := r.sender()
		senders.Go(func() {
			for n := range 30 {
				body := bodyOf(t, v1, one(float64(n), int64(n), "__name__", fmt.Sprint("m", i)))
				for end := time.Now().Add(time.Minute); ; {
					s.post(v1, body)
					f, err := s.conn.Receive()
					if err != nil || time.Now().After(end) {
						t.Errorf("sender %d, request %d: %v", i, n, err)
						return
					}
					if f.GetVerdict().GetCode() == ok {
						break
					}
				}
			}
		})
	}
	for range 5 {
		first.silence(true)
		time.Sleep(20 * time.Millisecond)
		second.silence(true)
		time.Sleep(20 * time.Millisecond)
		first.silence(false)
		time.Sleep(20 * time.Millisecond)
		second.silence(false)
	}
	senders.Wait()
	l, _ := r.appender.log()
	require.Equal(t, uint64(120), l.Last(), "a block a request")
	eventually(t, "all at a server", func() bool {
		r.in.confirming.mu.Lock()
		defer r.in.confirming.mu.Unlock()
		return r.in.confirming.quorum.Durable(l.ID()) == l.Last()
	})
}

func TestAckFlags(t *testing.T) {
	for _, test := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.AckServers = -1 }, "--ack.servers cannot be negative"},
		{func(c *Config) { c.AckServers, c.Server = 1, "" }, "there are no servers"},
		{func(c *Config) { c.AckTimeout = 0 }, "--ack.timeout"},
		{func(c *Config) { c.AckTimeout = mostAckTimeout }, "--ack.timeout"},
	} {
		c := testConfig(t.TempDir())
		test.change(&c)
		require.ErrorContains(t, c.check(), test.want)
	}
}

// A server and a forwarder come back, the forwarder with less. What the server says of its
// disk while it sends what was lost counts for what is repeated from the log that has ended.
func TestConfirmedWhileFetching(t *testing.T) {
	server := serveDisk(t, "a", "127.0.0.1:0")
	c := ackConfig(t, t.TempDir(), patient, server)
	r := start(t, c)
	request := func(at int64) []byte { return bodyOf(t, v1, one(1, at, "__name__", "a")) }
	s := r.sender()
	for at := range int64(3) {
		s.mustStore(v1, request(1+at))
	}
	l, _ := r.appender.log()
	r.stop()
	cutBack(t, c.StoragePath, l.ID(), 10)
	server.mu.Lock()
	server.late = true
	server.mu.Unlock()

	c.AckTimeout = impatient
	r = start(t, c)
	eventually(t, "what was lost is there", func() bool { return testutil.ToFloat64(r.in.metrics.fetched) == 1 })
	s = r.sender()
	eventually(t, "a repeat is confirmed", func() bool { return s.send(v1, request(1)).GetCode() == ok })
	require.Equal(t, 1.0, testutil.ToFloat64(r.in.metrics.renewed))
}
