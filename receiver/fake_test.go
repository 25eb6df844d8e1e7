package receiver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeForwarder answers batches over a real link.
type fakeForwarder struct {
	addr string
	stop func() // Drains.

	mu      sync.Mutex
	conns   map[*link.Conn]bool
	hellos  []*linkv1.Hello
	batches []*linkv1.Batch
	judge   func(*linkv1.Batch) *linkv1.Verdict // Nil verdict: no answer.
	meet    func(*linkv1.Hello) error           // Nil: everybody is welcome.
}

func ok(*linkv1.Batch) *linkv1.Verdict {
	return &linkv1.Verdict{Code: linkv1.Code_CODE_OK, SamplesWritten: 3, HistogramsWritten: 2, ExemplarsWritten: 1}
}

func newForwarder(t *testing.T, address string) *fakeForwarder {
	t.Helper()
	return newForwarderBy(t, address, link.Trust{}, nil)
}

func newForwarderBy(t *testing.T, address string, trust link.Trust, meet func(*linkv1.Hello) error) *fakeForwarder {
	t.Helper()
	l, err := link.Listen(address, link.Options{Instance: "fake", Trust: trust})
	require.NoError(t, err)
	f := &fakeForwarder{addr: l.Addr().String(), judge: ok, meet: meet, conns: make(map[*link.Conn]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, f.serve) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(f.stop)
	return f
}

func (f *fakeForwarder) serve(_ context.Context, c *link.Conn, hello *linkv1.Hello) error {
	if hello.GetRole() != linkv1.Role_ROLE_RECEIVER {
		return errors.New("only receivers are served here")
	}
	if f.meet != nil {
		if err := f.meet(hello); err != nil {
			return err
		}
	}
	if err := c.Welcome(&linkv1.Welcome{MaxBatchBytes: 3 << 20}); err != nil {
		return err
	}
	f.mu.Lock()
	f.conns[c] = true
	f.hellos = append(f.hellos, hello)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
	}()
	for {
		frame, err := c.Receive()
		if err != nil {
			return err
		}
		c.Keep() // Never released: the tests look at the bodies.
		b := frame.GetBatch()
		f.mu.Lock()
		f.batches = append(f.batches, b)
		v := f.judge(b)
		f.mu.Unlock()
		if v == nil {
			continue
		}
		v.Id = b.GetId()
		if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Verdict{Verdict: v}}); err != nil {
			return err
		}
	}
}

// kill ends the forwarder without a word.
func (f *fakeForwarder) kill() {
	f.mu.Lock()
	for c := range f.conns {
		go c.Close()
	}
	f.mu.Unlock()
	f.stop()
}

func (f *fakeForwarder) set(judge func(*linkv1.Batch) *linkv1.Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.judge = judge
}

func (f *fakeForwarder) always(code linkv1.Code, errs ...string) {
	f.set(func(*linkv1.Batch) *linkv1.Verdict { return &linkv1.Verdict{Code: code, Errors: errs} })
}

func (f *fakeForwarder) got() []*linkv1.Batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*linkv1.Batch(nil), f.batches...)
}

// lastHello is that of the newest link.
func (f *fakeForwarder) lastHello() *linkv1.Hello {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.hellos) == 0 {
		return nil
	}
	return f.hellos[len(f.hellos)-1]
}

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

type running struct {
	*Receiver
	pool     *pool // the only one, nil with groups
	url      string
	host     string // of requests, if not that of the URL
	log      *syncBuffer
	registry *prometheus.Registry
	client   *http.Client
	stop     func()
}

// start runs a receiver of the forwarders. It does not wait for a connection.
func start(t *testing.T, forwarders []string, configure func(*Config)) *running {
	t.Helper()
	c := DefaultConfig()
	c.WebAddress = "127.0.0.1:0"
	c.Forwarder = strings.Join(forwarders, ",")
	if configure != nil {
		configure(&c)
	}
	r := &running{log: &syncBuffer{}, registry: prometheus.NewRegistry(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	var err error
	r.Receiver, err = New(c, slog.New(slog.NewTextHandler(r.log, nil)), r.registry)
	require.NoError(t, err)
	if r.groups.file == nil {
		r.pool = r.groups.current.Load().pools[0]
	}
	r.url = "http://" + r.WebAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, r.Close())
		r.client.CloseIdleConnections()
	})
	t.Cleanup(r.stop)
	return r
}

// startWith runs a receiver that is connected to the forwarders.
func startWith(t *testing.T, configure func(*Config), forwarders ...*fakeForwarder) *running {
	t.Helper()
	var addrs []string
	for _, f := range forwarders {
		addrs = append(addrs, f.addr)
	}
	r := start(t, addrs, configure)
	for _, f := range forwarders {
		r.waitFor(t, f.addr)
	}
	return r
}

// waitFor waits until the forwarder is connected.
func (r *running) waitFor(t *testing.T, addr string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, m := range r.pool.forwarders.All() {
			if s, _ := m.current(); s != nil && m.instance.Address == addr {
				return true
			}
		}
		return false
	}, 30*time.Second, 5*time.Millisecond)
}

const (
	typeV1 = "application/x-protobuf"
	typeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

type answer struct {
	code   int
	body   string
	header http.Header
}

// post sends body as a Prometheus would. Header pairs replace what it sets,
// with "" they remove it.
func (r *running) post(t *testing.T, contentType string, body []byte, header ...string) answer {
	t.Helper()
	return r.do(t, http.MethodPost, "/api/v1/write", contentType, bytes.NewReader(body), header...)
}

func (r *running) do(t *testing.T, method, path, contentType string, body io.Reader, header ...string) answer {
	t.Helper()
	a := r.try(method, path, contentType, body, header...)
	require.NotZero(t, a.code, a.body)
	return a
}

// try is do for other goroutines than the test's: an error is a body with the
// code 0.
func (r *running) try(method, path, contentType string, body io.Reader, header ...string) answer {
	req, err := http.NewRequest(method, r.url+path, body)
	if err != nil {
		return answer{body: err.Error()}
	}
	req.Host = cmp.Or(r.host, req.Host)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Content-Encoding", "snappy")
	for i := 0; i+1 < len(header); i += 2 {
		if req.Header.Del(header[i]); header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{body: err.Error()}
	}
	return answer{resp.StatusCode, string(b), resp.Header}
}

// tryPost is post for other goroutines than the test's.
func (r *running) tryPost(body []byte) answer {
	return r.try(http.MethodPost, "/api/v1/write", typeV2, bytes.NewReader(body))
}

func block(s string) []byte { return snappy.Encode(nil, []byte(s)) }

func (a answer) mustRetry(t *testing.T, message string) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, a.code, a.body)
	require.Regexp(t, `^[1-3]$`, a.header.Get("Retry-After"))
	require.Contains(t, a.body, message)
}
