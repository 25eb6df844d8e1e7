package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// connectTimeout is how long a connection may take.
const connectTimeout = 10 * time.Second

// transport makes requests that are given up when nothing moves for a time: no byte of
// the request is taken, no byte of the answer comes. How long all of it takes is up to the
// caller's context.
type transport struct {
	http.RoundTripper
	timeout time.Duration
}

func newTransport(timeout time.Duration) *transport {
	return &transport{timeout: timeout, RoundTripper: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: min(connectTimeout, timeout), KeepAlive: connectTimeout}).DialContext,
		TLSHandshakeTimeout:   min(connectTimeout, timeout),
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       time.Minute,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // segments are compressed
		ForceAttemptHTTP2:     true,
	}}
}

func (t *transport) close() { t.RoundTripper.(*http.Transport).CloseIdleConnections() }

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	watch := &watch{timeout: t.timeout, cancel: cancel}
	watch.timer = time.AfterFunc(t.timeout, func() { cancel(fmt.Errorf("nothing moved for %s", t.timeout)) })
	request = request.Clone(ctx)
	if request.Body != nil && request.Body != http.NoBody {
		request.Body = &sent{ReadCloser: request.Body, watch: watch}
	}
	response, err := t.RoundTripper.RoundTrip(request)
	if err != nil {
		watch.end()
		return nil, stalled(ctx, err)
	}
	watch.timer.Stop()
	response.Body = &received{ReadCloser: response.Body, watch: watch, ctx: ctx}
	return response, nil
}

// watch gives a request up when its timer ends.
type watch struct {
	timeout time.Duration
	timer   *time.Timer
	cancel  context.CancelCauseFunc
}

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// stalled is why a request ended: its own error says only that it was canceled.
func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// sent is a request's body. Each part that is taken gives the request more time.
type sent struct {
	io.ReadCloser
	watch *watch
}

func (s *sent) Read(p []byte) (int, error) {
	s.watch.timer.Reset(s.watch.timeout)
	return s.ReadCloser.Read(p)
}

// received is an answer's body. The time counts while its reader waits.
type received struct {
	io.ReadCloser
	watch *watch
	ctx   context.Context
}

func (r *received) Read(p []byte) (int, error) {
	r.watch.timer.Reset(r.watch.timeout)
	n, err := r.ReadCloser.Read(p)
	r.watch.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = stalled(r.ctx, err)
	}
	return n, err
}

func (r *received) Close() error {
	err := r.ReadCloser.Close()
	r.watch.end()
	return err
}
