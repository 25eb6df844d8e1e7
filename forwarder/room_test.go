package forwarder

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
)

// through relays connections to an address from another one of this machine, so
// that they are another peer's.
func through(t *testing.T, from, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			out, err := dialer.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				_ = in.Close()
				return
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				running.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_, _ = pair[0].Close(), pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

// otherPeer is a sender at another address than all others.
func (r *running) otherPeer() *sender {
	r.t.Helper()
	c, _, err := link.Dial(r.t.Context(), through(r.t, "127.0.0.2", r.LinkAddr().String()), &linkv1.Hello{Role: linkv1.Role_ROLE_RECEIVER}, link.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return &sender{t: r.t, conn: c}
}

// raw is a connection that has said hello, and what it sends from then on.
func (r *running) raw(then ...[]byte) net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.LinkAddr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	hello := &linkv1.Frame{Kind: &linkv1.Frame_Hello{Hello: &linkv1.Hello{Version: link.Version, Role: linkv1.Role_ROLE_RECEIVER}}}
	if _, err := conn.Write(wire(r.t, hello)); err != nil {
		r.t.Fatal(err)
	}
	go func() { // It may stand still.
		for _, b := range then {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}()
	return conn
}

// wire is a frame as it is sent.
func wire(t *testing.T, f *linkv1.Frame) []byte {
	t.Helper()
	b, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return append(protowire.AppendVarint(nil, uint64(len(b))), b...)
}

// inUse is how much memory is.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestUnfinishedRequests has one peer leave many of the largest frames unfinished.
// They take a share of the room and no more, others are stored all the time, and
// when the connections have ended the memory is free again.
func TestUnfinishedRequests(t *testing.T) {
	const conns = 60
	c := testConfig(t.TempDir())
	r := start(t, c)
	good := r.otherPeer()
	good.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "up")))
	before := inUse()
	size, most := c.maxFrame(), before
	unfinished := make([]byte, size-1) // one for all of them
	var stalled []net.Conn
	for range conns {
		stalled = append(stalled, r.raw(protowire.AppendVarint(nil, uint64(size)), unfinished))
	}
	eventually(t, "the peer has its share", func() bool {
		return r.room.reading.Used()+c.largestFrame() > r.room.reading.Share() && r.room.reading.Waiting() > 0
	})
	for i := range 20 {
		good.mustStore(v1, bodyOf(t, v1, one(1, int64(10+i), "__name__", "up", "text", random(10_000))))
		most = max(most, inUse())
	}
	// What a connection needs besides, at either end of it.
	bound := before + int64(size) + r.room.reading.Share() + conns*512<<10
	t.Logf("%d MiB at most, bound %d MiB", most>>20, bound>>20)
	if most > bound {
		t.Errorf("%d bytes in use, at most %d are allowed", most, bound)
	}
	for _, conn := range stalled {
		_ = conn.Close()
	}
	eventually(t, "all is given back", func() bool { return r.room.reading.Used() == 0 && r.room.reading.Waiting() == 0 })
	if now := inUse(); now > before+2*int64(size) {
		t.Errorf("%d bytes are in use afterwards, %d were before", now, before)
	}
}

// TestUnreadVerdicts has receivers that send bad requests and read no verdict.
// What they are told takes room like all else, and others are stored.
func TestUnreadVerdicts(t *testing.T) {
	const conns = 20
	c := testConfig(t.TempDir())
	r := start(t, c)
	good := r.otherPeer()
	var bad []ts // each with a reason of a kilobyte, of a few bytes in all
	for range 12 {
		bad = append(bad, one(1, 5, "__name__", "up", strings.Repeat(" ", c.Limits.NameBytes), "v"))
	}
	frame := wire(t, &linkv1.Frame{Kind: &linkv1.Frame_Batch{Batch: &linkv1.Batch{Id: 1, Schema: v1, Body: bodyOf(t, v1, bad...)}}})
	before := inUse()
	var frames [][]byte
	for range 20 * maxPipelined {
		frames = append(frames, frame)
	}
	var deaf []net.Conn
	for range conns {
		deaf = append(deaf, r.raw(frames...))
	}
	eventually(t, "verdicts wait for those who do not read", func() bool { return r.in.room.Used() >= 100*leastWork })
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		good.mustStore(v1, bodyOf(t, v1, one(1, time.Now().UnixMilli(), "__name__", "up", "text", random(1000))))
		if used := r.in.room.Used(); used > r.in.room.Share()+leastWork {
			t.Errorf("%d bytes taken, the peer's share is %d", used, r.in.room.Share())
		}
	}
	if used := inUse() - before; used > 2*int64(c.InflightBytes) {
		t.Errorf("%d bytes in use", used)
	}
	for _, conn := range deaf {
		_ = conn.Close()
	}
	eventually(t, "all is given back", func() bool { return r.in.room.Used() == 0 })
}

// TestRequestThatBecomesMuch checks that a request takes room for what it becomes, and
// is to come again where there is none: many empty symbols are two bytes each, and
// have a place in a table.
func TestRequestThatBecomesMuch(t *testing.T) {
	const symbols = 200_000
	decoded := bytes.Repeat([]byte{4<<3 | 2, 0}, symbols)
	body := compress(append(decoded, 5<<3|2, 0))
	for name, busy := range map[string]bool{"room": false, "none": true} {
		t.Run(name, func(t *testing.T) {
			in := newTestIngest()
			j := &job{batch: &linkv1.Batch{Schema: v2, Body: body}, room: in.room.Hold("one")}
			if err := j.room.Resize(int64(len(decoded))); err != nil {
				t.Fatal(err)
			}
			if busy {
				if err := in.room.Hold("one").Resize(in.room.Share() - 2*int64(len(decoded))); err != nil {
					t.Fatal(err)
				}
			}
			in.decodeOne(j)
			counted := testutil.ToFloat64(in.metrics.overLimit.WithLabelValues("inflight-bytes"))
			switch {
			case busy && (j.verdict.GetCode() != linkv1.Code_CODE_UNAVAILABLE || counted != 1 || !strings.Contains(j.verdict.GetErrors()[0], flagInflightBytes)):
				t.Errorf("verdict %v, %v counted", j.verdict, counted)
			case !busy && (j.verdict != nil || counted != 0):
				t.Errorf("verdict %v, %v counted", j.verdict, counted)
			case !busy && j.room.Held() < symbols*24:
				t.Errorf("%d bytes held", j.room.Held())
			}
		})
	}
}

// TestRequestThatBecomesTooMuch refuses for good what takes more than one peer may
// have.
func TestRequestThatBecomesTooMuch(t *testing.T) {
	in := newTestIngest(func(c *LimitConfig) {
		c.Limits.DecodedBytes, c.RequestBytes, c.InflightBytes = 1<<20, 1<<20, 8<<20
	})
	decoded := bytes.Repeat([]byte{4<<3 | 2, 0}, in.limits.DecodedBytes/2-1)
	j := &job{batch: &linkv1.Batch{Schema: v2, Body: compress(append(decoded, 5<<3|2, 0))}, room: in.room.Hold("one")}
	if err := j.room.Resize(in.usual(v2, len(decoded))); err != nil {
		t.Fatal(err)
	}
	in.decodeOne(j)
	if j.verdict.GetCode() != linkv1.Code_CODE_TOO_LARGE || !strings.Contains(j.verdict.GetErrors()[0], flagInflightBytes) {
		t.Errorf("verdict %v", j.verdict)
	}
	if held := in.room.Used(); held > leastWork {
		t.Errorf("%d bytes are still held", held)
	}
}

// TestOrdinaryRequestsNeedNotAsk checks that requests as Prometheus sends them take no
// more than they have waited for: those are never refused because of others.
func TestOrdinaryRequestsNeedNotAsk(t *testing.T) {
	in := newTestIngest()
	for schema, known := range schemas {
		for _, series := range []int{1, 500, 700, 2000, 10_000} {
			for _, labels := range []int{4, 10} {
				var list []ts
				for i := range series {
					s := one(float64(i), 1700000000000+int64(i), "__name__", "requests_total", "instance", fmt.Sprint("10.0.0.", i), "job", "api", "zone", "eu-west-1")
					for l := 4; l < labels; l++ {
						s.labels = append(s.labels, fmt.Sprint("label_", l), fmt.Sprint("value", i%(l*l)))
					}
					list = append(list, s)
				}
				body := bodyOf(t, schema, list...)
				size, err := in.sizeOf(body)
				if err != nil {
					t.Fatal(err)
				}
				r := remotewrite.NewRequest(in.limits)
				r.Within(in.usual(schema, size), func(total int64) error {
					return fmt.Errorf("%d bytes for %d, which is %.1f times as much", total, size, float64(total)/float64(size))
				})
				if err := r.Decode(known, body); err != nil {
					t.Errorf("%s, %d series of %d labels: %v", schema, series, labels, err)
				}
			}
		}
	}
}

// TestIdleRequestsTakeLittle keeps the memory of some requests, of which each that
// comes gets one that is no larger than the room it has.
func TestIdleRequestsTakeLittle(t *testing.T) {
	var i idle
	body := bodyOf(t, v1, one(1, 5, "__name__", "up", "text", strings.Repeat("x", 10_000)))
	decoded := func(body []byte) *remotewrite.Request {
		r := remotewrite.NewRequest(remotewrite.DefaultLimits())
		if err := r.Decode(remotewrite.V1, body); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for range 2 * idleBytes / 10_000 {
		i.put(decoded(body))
		if i.bytes > idleBytes {
			t.Fatalf("%d bytes", i.bytes)
		}
	}
	large := decoded(bodyOf(t, v1, one(1, 5, "__name__", "up", "text", strings.Repeat("x", idleRequestBytes/2))))
	i.put(large)
	i.put(decoded(bodyOf(t, v1, one(1, 5, "__name__", "up", "text", strings.Repeat("x", idleRequestBytes)))))
	if i.get(large.Size()) != large {
		t.Error("the largest that fits was not got")
	}
	if r := i.get(9_000); r != nil {
		t.Errorf("%d bytes for one that has less room", r.Size())
	}
	n := int64(0)
	for r := i.get(idleBytes); r != nil; r = i.get(idleBytes) {
		n += r.Size()
	}
	if n < idleBytes/2 || n > idleBytes || i.bytes != 0 {
		t.Errorf("%d bytes were kept, %d are left", n, i.bytes)
	}
}

// TestVerdictFitsIntoAFrame checks that reasons which are too many are left out,
// rather than the verdict.
func TestVerdictFitsIntoAFrame(t *testing.T) {
	in := newTestIngest()
	o := &outbox{wake: make(chan struct{}, 1)}
	j := &job{batch: &linkv1.Batch{Id: 7}, to: o, room: in.room.Hold("one")}
	v := &linkv1.Verdict{Code: linkv1.Code_CODE_INVALID}
	for range 20 {
		v.Errors = append(v.Errors, strings.Repeat("x", 1024))
	}
	in.reply(j, v)
	frames, _ := o.drain()
	if n := proto.Size(frames[0]); n > link.MaxSmall || n < link.MaxSmall-2048 {
		t.Errorf("a frame of %d bytes", n)
	}
}

// TestRoomIsForOneRequestAtLeast refuses limits by which a request could never be
// taken.
func TestRoomIsForOneRequestAtLeast(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"in flight":  func(c *Config) { c.InflightBytes = 2*c.RequestBytes - 1 },
		"decoded":    func(c *Config) { c.Limits.DecodedBytes = int(c.InflightBytes) },
		"peer share": func(c *Config) { c.PeerShare = 0 },
	} {
		c := testConfig(t.TempDir())
		change(&c)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), "--limit.") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := testConfig(t.TempDir())
	c.PeerShare = 1
	room := newRoom(&c.LimitConfig)
	if room.reading.Share() < c.largestFrame() || room.working.Share() < c.largestWork() {
		t.Error("a peer's share is less than a request")
	}
}
