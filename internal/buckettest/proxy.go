package buckettest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/promgrpc/exporter/internal/backoff"
)

// Proxy is before a provider's stand-in, and has its faults seen by processes as what
// they are on a network.
type Proxy struct {
	switchboard

	// Address is where buckets are asked for instead of at the provider's.
	Address string

	forward http.Handler
	// over ends with the test.
	over context.Context
}

// StartProxy starts one before a provider that speaks HTTP at an address. Requests keep
// the name of the host that they were sent to: signatures are of it.
func StartProxy(t testing.TB, provider string) *Proxy {
	t.Helper()
	over, end := context.WithCancel(context.Background())
	p := &Proxy{over: over}
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: provider})
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { hangUp(w) },
	}
	server := httptest.NewServer(p)
	t.Cleanup(func() {
		end()
		server.CloseClientConnections()
		server.Close()
	})
	p.Address = server.Listener.Addr().String()
	return p
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	faults := p.call()
	if faults.Delay > 0 && !p.wait(r.Context(), faults.Delay) {
		return
	}
	switch {
	case faults.Away:
		hangUp(w)
	case faults.Refuse:
		_, _ = io.Copy(io.Discard, r.Body) // an answer to what is still sent may not arrive
		http.Error(w, "refused", http.StatusForbidden)
	case faults.LoseAnswers && r.Method != http.MethodGet && r.Method != http.MethodHead:
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		hangUp(w)
	case faults.CutReads > 0:
		p.forward.ServeHTTP(&cutWriter{w, faults.CutReads}, r)
	default:
		p.forward.ServeHTTP(w, r)
	}
}

// wait says whether a request is still wanted after a time.
func (p *Proxy) wait(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.over, cancel)()
	return backoff.Sleep(ctx, d) == nil
}

// hangUp closes a connection instead of answering.
func hangUp(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return // the answer goes nowhere
	}
	if connection, _, err := hijacker.Hijack(); err == nil {
		if tcp, ok := connection.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, as of what is away
		}
		_ = connection.Close()
	}
}

// cutWriter takes so many bytes of an answer.
type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= c.left {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	n, err := c.ResponseWriter.Write(p[:c.left])
	c.left = 0
	if err == nil {
		err = ErrCut
	}
	return n, err
}
