package receiver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/usage"
)

// peakHeap returns by how much the heap grew at most while f ran.
func peakHeap(f func()) uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	before, peak := stats.HeapInuse, stats.HeapInuse
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
				runtime.ReadMemStats(&stats)
				peak = max(peak, stats.HeapInuse)
			}
		}
	})
	f()
	close(done)
	wg.Wait()
	return peak - before
}

// endless is a body that only its reader ends.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	e.left -= n
	return int(n), nil
}

func TestMemoryStaysFlat(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, f)
	bomb := append(binary.AppendUvarint(nil, 4<<30-1), make([]byte, 200)...)
	plausible := append(binary.AppendUvarint(nil, 32<<20), make([]byte, 200)...)
	r.post(t, typeV2, bomb)
	grown := peakHeap(func() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					assert.Equal(t, http.StatusRequestEntityTooLarge, r.tryPost(bomb).code)
					assert.Equal(t, http.StatusBadRequest, r.tryPost(plausible).code)
				}
			})
		}
		wg.Wait()
	})
	require.Less(t, grown, uint64(8<<20), "snappy bombs")
	require.Empty(t, f.got())
}

func TestOversizedBodiesShareTheBudget(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, func(c *Config) { c.RequestBytes, c.InflightBytes = 4<<20, 8<<20 }, f)
	grown := peakHeap(func() {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				a := r.try(http.MethodPost, "/", typeV1, &endless{left: 1 << 30})
				// The answer may be lost with the connection that was closed on the sender.
				assert.Contains(t, []int{0, http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable}, a.code)
			})
		}
		wg.Wait()
	})
	require.Less(t, grown, uint64(64<<20))
	require.Empty(t, f.got())
	r.allGivenBack(t)
}

// allGivenBack waits until no request holds any of the budget.
func (r *running) allGivenBack(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		body := r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body
		return strings.Contains(body, "\npromgrpc_receiver_inflight_bytes 0\n")
	}, 30*time.Second, 10*time.Millisecond)
}

func TestBusyReceiverAsksToComeAgain(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	release := make(chan struct{})
	f.set(func(b *linkv1.Batch) *linkv1.Verdict { <-release; return ok(b) })
	r := startWith(t, func(c *Config) { c.RequestBytes, c.InflightBytes, c.PeerShare = 1000, 2*leastCharge, 100 }, f)
	answers := make(chan answer)
	for range 2 {
		go func() { answers <- r.tryPost(block("x")) }()
	}
	require.Eventually(t, func() bool { return r.inflight() == 2 }, 30*time.Second, time.Millisecond)
	r.post(t, typeV2, block("x")).mustRetry(t, "--limit.inflight-bytes")
	require.Contains(t, r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body,
		`promgrpc_receiver_over_limit_total{limit="inflight-bytes"} 1`)
	close(release)
	for range 2 {
		require.Equal(t, http.StatusNoContent, (<-answers).code)
	}
	require.Equal(t, http.StatusNoContent, r.post(t, typeV2, block("x")).code)
	r.allGivenBack(t)
}

// gauge is what a metric of the receiver says.
func (r *running) gauge(t *testing.T, name string) (value int64) {
	t.Helper()
	body := r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			require.NoError(t, err)
			return int64(f)
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// stalled opens connections that each claim a body and send some of it.
func (r *running) stalled(t *testing.T, n int, claim int64, some int) (conns []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", r.WebAddr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		conns = append(conns, c)
		_, err = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n", claim)
		require.NoError(t, err)
		_, err = c.Write(make([]byte, some))
		require.NoError(t, err)
	}
	return conns
}

// TestContentLengthIsNotTrusted has many senders claim the largest body, and send
// nothing of it. They take little, so that others have room.
func TestContentLengthIsNotTrusted(t *testing.T) {
	const conns = 200
	r := startWith(t, nil, newForwarder(t, "127.0.0.1:0"))
	var all []net.Conn
	grown := peakHeap(func() {
		all = r.stalled(t, conns, int64(DefaultConfig().RequestBytes), 0)
		require.Eventually(t, func() bool { return r.gauge(t, "promgrpc_receiver_inflight_requests") == conns }, 30*time.Second, time.Millisecond)
		require.Equal(t, http.StatusNoContent, r.post(t, typeV1, block("x")).code)
	})
	require.Less(t, grown, uint64(conns*2*firstStep+8<<20))
	require.LessOrEqual(t, r.gauge(t, "promgrpc_receiver_inflight_bytes"), int64(conns*2*firstStep))
	for _, c := range all {
		require.NoError(t, c.Close())
	}
	r.allGivenBack(t)
}

// TestConnectionsAreCheap has many senders that never come to the end of a header.
// Each takes what docs/guarantees.md says; a header that is too long is refused.
func TestConnectionsAreCheap(t *testing.T) {
	const conns = 200
	r := startWith(t, nil, newForwarder(t, "127.0.0.1:0"))
	head := "POST / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Some: "+strings.Repeat("x", 1000)+"\r\n", 15)
	grown := peakHeap(func() {
		for range conns {
			c, err := net.Dial("tcp", r.WebAddr().String())
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close() })
			_, err = io.WriteString(c, head)
			require.NoError(t, err)
		}
		require.Equal(t, http.StatusNoContent, r.post(t, typeV1, block("x")).code)
	})
	require.Less(t, grown, uint64(conns*64<<10))
	long := r.post(t, typeV1, block("x"), "X-Some", strings.Repeat("x", 32<<10))
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, long.code)
}

// TestHTTP2ConnectionsAreCheap has connections of HTTP/2 with as many requests as they
// may have, long headers, and all of the bodies that is taken in. Beyond what
// docs/guarantees.md says of any connection, they take what the requests are charged.
func TestHTTP2ConnectionsAreCheap(t *testing.T) {
	const conns = 10 // All of the requests have to be there before the grace of the first is over.
	for name, length := range map[string]string{"unknown length": "", "one byte": "1"} {
		t.Run(name, func(t *testing.T) {
			var c Config
			r := startWith(t, func(config *Config) { c = *config }, newForwarder(t, "127.0.0.1:0"))
			var charged int64
			grown := peakHeap(func() {
				for range conns {
					conn, err := net.Dial("tcp", r.WebAddr().String())
					require.NoError(t, err)
					t.Cleanup(func() { _ = conn.Close() })
					openStreams(t, conn, c.WebConnStreams, length)
				}
				require.Equal(t, http.StatusNoContent, r.post(t, typeV1, block("x")).code)
				require.Eventually(t, func() bool {
					return r.gauge(t, "promgrpc_receiver_inflight_requests") == int64(conns*c.WebConnStreams)
				}, 20*time.Second, 10*time.Millisecond, "all of them are under way")
				charged = r.gauge(t, "promgrpc_receiver_inflight_bytes")
			})
			require.Less(t, int64(grown), conns*64<<10+2*charged)
		})
	}
}

// openStreams begins requests of HTTP/2 and sends what the receiver takes in of them.
func openStreams(t *testing.T, conn net.Conn, streams int, length string) {
	t.Helper()
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	require.NoError(t, framer.WriteSettings())
	var header bytes.Buffer
	encoder := hpack.NewEncoder(&header)
	for i := range streams {
		header.Reset()
		fields := [][2]string{
			{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/"},
			{"content-type", typeV1}, {"x-some", strings.Repeat("x", 15<<10)},
		}
		if length != "" {
			fields = append(fields, [2]string{"content-length", length})
		}
		for _, f := range fields {
			require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		id := uint32(1 + 2*i)
		require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: header.Bytes(), EndHeaders: true}))
		if length == "" {
			require.NoError(t, framer.WriteData(id, false, make([]byte, (64<<10)/streams-1)))
		}
	}
	for {
		f, err := framer.ReadFrame()
		require.NoError(t, err)
		if s, ok := f.(*http2.SettingsFrame); ok && s.IsAck() {
			return
		}
	}
}

// TestSlowBodiesAreEnded checks that a body which does not get on is not waited for,
// and that the sender is told to come again.
func TestSlowBodiesAreEnded(t *testing.T) {
	r := startWith(t, nil, newForwarder(t, "127.0.0.1:0"))
	began := time.Now()
	c := r.stalled(t, 1, firstStep, 1)[0]
	ended := make(chan answer, 1)
	go func() {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			ended <- answer{body: err.Error()}
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		ended <- answer{resp.StatusCode, string(b), resp.Header}
	}()
	for {
		select {
		case a := <-ended:
			a.mustRetry(t, flagBodyRate)
			require.GreaterOrEqual(t, time.Since(began), grace)
			r.allGivenBack(t)
			require.Contains(t, r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body,
				`promgrpc_receiver_over_limit_total{limit="body-rate"} 1`)
			return
		case <-time.After(100 * time.Millisecond):
			_, _ = c.Write([]byte{0})
		}
	}
}

// TestSlowBodiesAreEndedOverHTTP2 does the same with a request among others of one
// connection, which go on.
func TestSlowBodiesAreEndedOverHTTP2(t *testing.T) {
	r := startWith(t, nil, newForwarder(t, "127.0.0.1:0"))
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	r.client = &http.Client{Transport: transport}
	body, slow := io.Pipe()
	defer slow.Close()
	ended := make(chan answer, 1)
	go func() { ended <- r.try("POST", "/", typeV1, body) }()
	for {
		select {
		case a := <-ended:
			a.mustRetry(t, flagBodyRate)
			r.allGivenBack(t)
			return
		case <-time.After(100 * time.Millisecond):
			require.Equal(t, http.StatusNoContent, r.post(t, typeV1, block("x")).code)
		}
	}
}

// TestSilenceAfterTheBody checks that a sender may wait for its answer for longer than
// a body may take.
func TestSilenceAfterTheBody(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	f.set(func(b *linkv1.Batch) *linkv1.Verdict {
		time.Sleep(grace + time.Second)
		return ok(b)
	})
	r := startWith(t, nil, f)
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, block("x")).code)
}

// TestAddressHasItsShare checks that one sender cannot have all the room.
func TestAddressHasItsShare(t *testing.T) {
	const size = 2 * leastCharge
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, func(c *Config) { c.RequestBytes, c.InflightBytes, c.PeerShare = size, 7*size, 50 }, f)
	r.stalled(t, 8, size, size/2)
	held := int64(buffer.Size(firstStep + 1)) // by each that there is room for
	require.Eventually(t, func() bool { return r.gauge(t, "promgrpc_receiver_inflight_bytes") == 7*size/2/held*held }, 30*time.Second, time.Millisecond)
	text := make([]byte, size/2+leastCharge/2) // more than is left of the share
	_, _ = rand.Read(text)
	a := r.post(t, typeV2, block(string(text)))
	require.Equal(t, http.StatusServiceUnavailable, a.code)
	require.Contains(t, a.body, flagInflightBytes)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	r.client = &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	defer r.client.CloseIdleConnections()
	require.Equal(t, http.StatusNoContent, r.post(t, typeV2, block(string(text))).code)
}

func TestJunkOnTheHTTPPort(t *testing.T) {
	r := startWith(t, nil, newForwarder(t, "127.0.0.1:0"))
	for _, junk := range []string{
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	} {
		c, err := net.Dial("tcp", r.WebAddr().String())
		require.NoError(t, err)
		_, err = io.WriteString(c, junk)
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		// It is reset where a byte of it was not read.
		if _, err = io.Copy(io.Discard, c); err != nil {
			require.ErrorIs(t, err, syscall.ECONNRESET, "%q", junk)
		}
		require.NoError(t, c.Close())
	}
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, block("x")).code)
}

func TestBasicAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	// The password is "secret".
	require.NoError(t, os.WriteFile(file, []byte("basic_auth_users:\n  alice: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC\n"), 0o600))
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, func(c *Config) { c.WebConfigFile = file }, f)
	require.Equal(t, http.StatusUnauthorized, r.post(t, typeV1, block("x")).code)
	require.Empty(t, f.got())
	require.Equal(t, http.StatusOK, r.do(t, "GET", "/-/ready", "", nil).code)
	require.Contains(t, r.log.String(), `msg="request refused by the web config file" status=401`)
	r.url = strings.Replace(r.url, "http://", "http://alice:secret@", 1)
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, block("x")).code)
	require.Contains(t, r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body,
		`promgrpc_web_refused_requests_total{code="401"} 1`)
}

func TestMistakesInTheConfiguration(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"--forwarder: peers":         func(c *Config) { c.Forwarder = "nowhere" },
		"limits have to be above":    func(c *Config) { c.DecodedBytes = 0 },
		"the link to the forwarder":  func(c *Config) { c.RequestBytes = 64 << 20 },
		"less than a single":         func(c *Config) { c.InflightBytes = 1 << 20 },
		"--limit.peer-share":         func(c *Config) { c.PeerShare = 101 },
		"--limit.body-rate":          func(c *Config) { c.BodyRate = 0 },
		"--forwarder.timeout":        func(c *Config) { c.ForwarderTimeout = 0 },
		"--web.config.file gone.yml": func(c *Config) { c.WebConfigFile = "gone.yml" },
	} {
		c := DefaultConfig()
		c.WebAddress = "127.0.0.1:0"
		change(&c)
		_, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		var mistake *usage.Error
		require.ErrorAs(t, err, &mistake)
		require.ErrorContains(t, err, want)
	}
	c := DefaultConfig()
	c.WebAddress, c.ForwarderTLS.CA = "127.0.0.1:0", "gone.pem"
	_, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	require.ErrorContains(t, err, "gone.pem")
}

func TestFlagsDefaultToTheDefaults(t *testing.T) {
	c := DefaultConfig()
	app := kingpin.New("receiver", "")
	c.RegisterFlags(app)
	_, err := app.Parse(nil)
	require.NoError(t, err)
	require.Equal(t, DefaultConfig(), c)
	_, err = app.Parse([]string{"--limit.request-bytes=1MiB", "--forwarder=a:1,b:2", "--forwarder.tls-ca-file=x"})
	require.NoError(t, err)
	require.Equal(t, int64(1<<20), int64(c.RequestBytes))
	require.Equal(t, "a:1,b:2", c.Forwarder)
	require.Equal(t, "x", c.ForwarderTLS.CA)
}

// sets is a source whose sets the test sends.
type sets chan []discovery.Instance

func (s sets) Watch(context.Context) <-chan []discovery.Instance { return s }

func TestForwardersComeAndGo(t *testing.T) {
	one, two := newForwarder(t, "127.0.0.1:0"), newForwarder(t, "127.0.0.1:0")
	r := start(t, []string{one.addr}, nil)
	r.stop()
	source := make(sets)
	p := newPool("", source, slog.New(slog.DiscardHandler), newMetrics(nil), r.pool.options)
	r.pool = p
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { defer close(done); p.run(ctx) }()

	require.ErrorContains(t, p.ready(), "no forwarder is known")
	instance := func(f *fakeForwarder) discovery.Instance { return discovery.Instance{ID: f.addr, Address: f.addr} }
	source <- []discovery.Instance{instance(one)}
	r.waitFor(t, one.addr)
	release := make(chan struct{})
	one.set(func(b *linkv1.Batch) *linkv1.Verdict { <-release; return ok(b) })
	verdict := make(chan error, 1)
	go func() {
		v, err := p.write(ctx, 0, nil, &linkv1.Batch{Schema: linkv1.Schema_SCHEMA_WRITE_V1, Body: block("x")})
		if err == nil && v.GetSamplesWritten() != 3 {
			err = io.ErrUnexpectedEOF
		}
		verdict <- err
	}()
	require.Eventually(t, func() bool { return r.inflight() == 1 }, 30*time.Second, time.Millisecond)

	source <- []discovery.Instance{instance(two)} // The first goes, with a batch under way.
	r.waitFor(t, two.addr)
	v, err := p.write(ctx, 0, nil, &linkv1.Batch{Schema: linkv1.Schema_SCHEMA_WRITE_V1, Body: block("y")})
	require.NoError(t, err)
	require.Equal(t, linkv1.Code_CODE_OK, v.GetCode())
	require.True(t, bytes.Equal(block("y"), two.got()[0].GetBody()))
	close(release)
	require.NoError(t, <-verdict, "the batch under way still gets its verdict")
	require.Eventually(t, func() bool { one.mu.Lock(); defer one.mu.Unlock(); return len(one.conns) == 0 }, 30*time.Second, 5*time.Millisecond)

	source <- nil
	require.Eventually(t, func() bool { return p.ready() != nil }, 30*time.Second, 5*time.Millisecond)
	cancel()
	close(source)
	<-done
}

// TestForwarderUnderAnotherID has a forwarder come back at its address under another
// ID while the link to the old one is still draining: it counts as connected.
func TestForwarderUnderAnotherID(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := start(t, []string{f.addr}, nil)
	r.stop()
	source := make(sets)
	m := newMetrics(nil)
	p := newPool("", source, slog.New(slog.DiscardHandler), m, r.pool.options)
	r.pool = p
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { defer close(done); p.run(ctx) }()
	conns := func(want int) func() bool {
		return func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.conns) == want }
	}

	source <- []discovery.Instance{{ID: "old", Address: f.addr}}
	r.waitFor(t, f.addr)
	f.set(silence)
	batch, giveUp := context.WithCancel(ctx)
	gaveUp := make(chan error, 1)
	go func() {
		_, err := p.write(batch, 0, nil, &linkv1.Batch{Schema: linkv1.Schema_SCHEMA_WRITE_V1, Body: block("x")})
		gaveUp <- err
	}()
	require.Eventually(t, func() bool { return r.inflight() == 1 }, 30*time.Second, time.Millisecond)
	source <- []discovery.Instance{{ID: "new", Address: f.addr}}
	r.waitFor(t, f.addr)
	require.Eventually(t, conns(2), 30*time.Second, time.Millisecond)
	giveUp()
	require.ErrorIs(t, <-gaveUp, context.Canceled)
	require.Eventually(t, conns(1), 30*time.Second, time.Millisecond)
	require.Never(t, func() bool {
		return testutil.CollectAndCount(m.forwarderUp) != 1 || testutil.ToFloat64(m.forwarderUp.WithLabelValues("", f.addr)) != 1
	}, time.Second, 10*time.Millisecond, "the link to the new one is there")
	cancel()
	close(source)
	<-done
	require.Zero(t, testutil.CollectAndCount(m.forwarderUp))
}
