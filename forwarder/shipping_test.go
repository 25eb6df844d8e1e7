package forwarder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

var discard = slog.New(slog.DiscardHandler)

// replicaServer keeps replicas as a server does, over real TCP.
type replicaServer struct {
	t    *testing.T
	dir  string
	addr string
	stop func()

	mu   sync.Mutex
	last map[segment.LogID]uint64
	tail uint64
	gaps []*seglog.GapError
	// lies change the position that is given in the first handshake.
	lies []func(*linkv1.Position)
	// elections are sent as they come.
	elections <-chan *linkv1.Election
}

func serveReplica(t *testing.T, dir, addr string, lie ...func(*linkv1.Position)) *replicaServer {
	t.Helper()
	r := &replicaServer{t: t, dir: dir, last: map[segment.LogID]uint64{}, lies: lie}
	l, err := link.Listen(addr, link.Options{Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	store, err := seglog.OpenStore(dir, seglog.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Run(ctx, func(_ context.Context, c *link.Conn, hello *linkv1.Hello) error { return r.serve(store, c, hello) })
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *replicaServer) serve(store *seglog.Store, c *link.Conn, hello *linkv1.Hello) error {
	id := segment.LogID(hello.GetLogId())
	replica, err := store.OpenMirror(id, head.New())
	if err != nil {
		return err
	}
	defer replica.Close()
	position := func() *linkv1.Position {
		sequence, sum, ok := replica.Position()
		if !ok {
			return nil
		}
		p := &linkv1.Position{LogId: id[:], Sequence: sequence, Checksum: sum}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last[id] = sequence
		return p
	}
	welcome := &linkv1.Welcome{Position: position()}
	r.mu.Lock()
	if welcome.Position != nil {
		for _, lie := range r.lies {
			lie(welcome.Position)
		}
		r.lies = nil
	}
	r.mu.Unlock()
	if err := c.Welcome(welcome); err != nil {
		return err
	}
	r.mu.Lock()
	elections := r.elections
	r.mu.Unlock()
	ended := make(chan struct{})
	defer close(ended)
	go sendElections(c, elections, ended)
	for {
		f, err := c.Receive()
		if err != nil {
			return err
		}
		switch k := f.GetKind().(type) {
		case *linkv1.Frame_Tail:
			r.mu.Lock()
			r.tail = k.Tail.GetSequence()
			r.mu.Unlock()
		case *linkv1.Frame_Fetch:
			l := replica.Log()
			err = logship.Send(context.Background(), l, k.Fetch.GetAfterSequence(), logship.Frames{Conn: c},
				logship.Options{More: func(after uint64) bool { return after < l.Last() }})
		default:
			if err = logship.Deliver(f, keeping{replica, r}); err == nil {
				if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Position{Position: position()}}); err != nil {
					return err // The forwarder has left, as it does when another log is written.
				}
			}
		}
		if err != nil {
			r.t.Errorf("replica: %v", err)
			return err
		}
	}
}

// keeping is a mirror with the gaps that it was told of kept.
type keeping struct {
	*seglog.Mirror
	r *replicaServer
}

func (k keeping) Gap(gap *seglog.GapError) error {
	k.r.mu.Lock()
	defer k.r.mu.Unlock()
	k.r.gaps = append(k.r.gaps, gap)
	return nil
}

func (r *replicaServer) at(id segment.LogID) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[id]
}

// deadAddress is one that nobody listens at.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *sender) fill(from, to int) {
	s.t.Helper()
	for i := from; i < to; i++ {
		s.mustStore(v1, bodyOf(s.t, v1, one(float64(i), int64(i), "__name__", "x"), one(1, 5, "__name__", fmt.Sprint("n", i))))
	}
}

func TestReplication(t *testing.T) {
	dir := t.TempDir()
	one := serveReplica(t, filepath.Join(dir, "one"), "127.0.0.1:0")
	two := serveReplica(t, filepath.Join(dir, "two"), "127.0.0.1:0")
	// A server that takes connections and never answers is as good as dead.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	c := testConfig(filepath.Join(dir, "forwarder"))
	c.SegmentSize = 4096 // so that there are some
	c.Server = strings.Join([]string{one.addr, two.addr, deadAddress(t), mute.Addr().String()}, ",")
	r := start(t, c)
	s := r.sender()
	s.fill(0, 50)
	l, _ := r.appender.log()
	id := l.ID()
	at := func(p *replicaServer, sequence uint64) func() bool {
		return func() bool { return p.at(id) == sequence }
	}
	eventually(t, "first server is at 50", at(one, 50))
	eventually(t, "second server is at 50", at(two, 50))

	// One is away for a while, and gets the rest when it returns.
	one.stop()
	s.fill(50, 120)
	eventually(t, "second server is at 120", at(two, 120))
	back := serveReplica(t, one.dir, one.addr)
	eventually(t, "first server is at 120", at(back, 120))
	s.fill(120, 130)
	eventually(t, "first server is at 130", at(back, 130))
	eventually(t, "second server is at 130", at(two, 130))
	if len(l.Segments()) < 3 {
		t.Errorf("only %d segments", len(l.Segments()))
	}
	eventually(t, "no lag", func() bool {
		return testutil.ToFloat64(r.in.metrics.lag.WithLabelValues(back.addr)) == 0 &&
			testutil.ToFloat64(r.in.metrics.position.WithLabelValues(back.addr)) == 130
	})
	eventually(t, "tail is told", func() bool { back.mu.Lock(); defer back.mu.Unlock(); return back.tail == 130 })
	r.stop()
	back.stop()
	two.stop()
	sameFiles(t, filepath.Join(c.StoragePath, id.String()), filepath.Join(back.dir, id.String()))
	sameFiles(t, filepath.Join(c.StoragePath, id.String()), filepath.Join(two.dir, id.String()))
}

// TestLagOfAServerThatConfirmsNothing grows all the same.
func TestLagOfAServerThatConfirmsNothing(t *testing.T) {
	l, err := link.Listen("127.0.0.1:0", link.Options{Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- l.Run(ctx, func(ctx context.Context, c *link.Conn, _ *linkv1.Hello) error {
			err := c.Welcome(&linkv1.Welcome{})
			<-ctx.Done()
			return err
		})
	}()
	defer func() { cancel(); <-ended }()
	c := testConfig(t.TempDir())
	c.Server = l.Addr().String()
	r := start(t, c)
	defer r.stop()
	s := r.sender()
	lag := func(blocks float64) func() bool {
		return func() bool { return testutil.ToFloat64(r.in.metrics.lag.WithLabelValues(c.Server)) == blocks }
	}
	s.fill(0, 1)
	eventually(t, "it lags by one", lag(1))
	s.fill(1, 5)
	eventually(t, "it lags by five", lag(5))
}

// TestLastBlocksArrive has the forwarder end right after its last answer.
func TestLastBlocksArrive(t *testing.T) {
	p := serveReplica(t, t.TempDir(), "127.0.0.1:0")
	c := testConfig(t.TempDir())
	c.Server = p.addr
	r := start(t, c)
	s := r.sender()
	s.fill(0, 1)
	l, _ := r.appender.log()
	eventually(t, "connected", func() bool { return p.at(l.ID()) == 1 })
	s.fill(1, 20)
	r.stop()
	if got := p.at(l.ID()); got != 20 {
		t.Errorf("server is at %d", got)
	}
}

func TestReplicaBehindRetention(t *testing.T) {
	c := testConfig(t.TempDir())
	c.SegmentSize, c.RetentionSize = 1, 1 // only the newest segment is kept
	addr := deadAddress(t)
	c.Server = addr
	r := start(t, c)
	r.sender().fill(0, 40)
	l, _ := r.appender.log()
	if l.First() == 1 {
		t.Fatal("nothing was deleted")
	}
	p := serveReplica(t, t.TempDir(), addr)
	eventually(t, "server has the rest", func() bool { return p.at(l.ID()) == 40 })
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.gaps) != 1 || p.gaps[0].After != 0 || p.gaps[0].Next != l.First() {
		t.Errorf("gaps %v, the log begins at %d", p.gaps, l.First())
	}
}

// TestDiverged has a server that has diverged from the log: a new log is
// begun, with all series in it, and replicated.
func TestDiverged(t *testing.T) {
	for _, test := range []struct {
		name string
		lie  func(*linkv1.Position)
	}{
		{"another checksum", func(p *linkv1.Position) { p.Checksum++ }},
		{"ahead", func(p *linkv1.Position) { p.Sequence += 5 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := serveReplica(t, t.TempDir(), "127.0.0.1:0")
			c := testConfig(t.TempDir())
			c.Server = p.addr
			r := start(t, c)
			s := r.sender()
			s.fill(0, 10)
			l, _ := r.appender.log()
			old := l.ID()
			eventually(t, "server is at 10", func() bool { return p.at(old) == 10 })
			p.stop()

			p2 := serveReplica(t, p.dir, p.addr, test.lie)
			eventually(t, "a new log", func() bool { l, _ := r.appender.log(); return l != nil && l.ID() != old })
			s.fill(10, 12)
			l, _ = r.appender.log()
			eventually(t, "server has the new log", func() bool { return p2.at(l.ID()) == 2 })
			// A request from before is known, a series too.
			s.fill(9, 10)
			blocks := r.blocks()
			if len(blocks) != 2 || blocks[0].Series.Len() != 1 {
				t.Errorf("%d blocks, new series in the first: %v", len(blocks), blocks[0].Series)
			}
			r.stop()
			again := start(t, c)
			if l, _ := again.appender.log(); l.ID() == old || again.appender.state.head.Len() != 13 {
				t.Errorf("after a restart: log %s with %d series", l.ID(), again.appender.state.head.Len())
			}
		})
	}
}

// TestPositionInAnotherLog has a server answer with one: it is dialled again.
func TestPositionInAnotherLog(t *testing.T) {
	for _, id := range [][]byte{nil, {1, 2, 3}, make([]byte, 16), make([]byte, 17)} {
		t.Run(fmt.Sprint(len(id)), func(t *testing.T) {
			p := serveReplica(t, t.TempDir(), "127.0.0.1:0")
			c := testConfig(t.TempDir())
			c.Server = p.addr
			r := start(t, c)
			r.sender().fill(0, 10)
			l, _ := r.appender.log()
			eventually(t, "server has the log", func() bool { return p.at(l.ID()) == 10 })
			p.stop()
			again := serveReplica(t, p.dir, p.addr, func(p *linkv1.Position) { p.LogId = id })
			r.sender().fill(10, 20)
			eventually(t, "server goes on", func() bool { return again.at(l.ID()) == 20 })
		})
	}
}

func TestWrongRole(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	_, _, err := link.Dial(t.Context(), r.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: make([]byte, 16)}, link.Options{})
	if err == nil || !strings.Contains(err.Error(), "ROLE_FORWARDER") {
		t.Errorf("error %v", err)
	}
}

func TestJunkHurtsNobody(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	s := r.sender()
	conn, err := net.Dial("tcp", r.LinkAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n", 100)))
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for buf := make([]byte, 1024); err == nil; {
		_, err = conn.Read(buf)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("junk was left standing")
	}
	s.fill(0, 1)
}
