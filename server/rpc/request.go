package rpc

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/klauspost/compress/gzip"

	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/gen/go/thanos/thanosconnect"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
)

// FlagRequestBytes limits what a request may have.
const FlagRequestBytes = "--limit.call-request-bytes"

const (
	// requestCost is how many bytes a byte of a request takes: the body, whose
	// buffer grows by doubling, and the message.
	requestCost = 4
	// requestSlack is how far Connect's own limit is above the one here, so that it is
	// never reached: Connect would read on to tell how large the request is.
	requestSlack = 4 << 10
	// mostQuoted is the most of a header or a path that an error or a log line quotes.
	mostQuoted = 200
)

// timed is for requests that are refused before they are [Service.admitted], whose bodies
// net/http reads to their end.
func (s *Service) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.setDeadlines(http.NewResponseController(w), r)
		next.ServeHTTP(w, r)
	})
}

// admitted holds room for each request until it is answered or a stream starts. A
// request has to arrive in time, and its answer has to be taken in time.
func (s *Service) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callerOf(r.Context())
		defer c.Room.Release()
		shortenQuoted(r.Header)
		cost := answer.CallCost + requestCost*int64(len(r.URL.RawQuery)) // the request of a GET
		counted := compressed(r)
		if counted {
			cost += requestCost * s.RequestBytes
		}
		if err := c.Room.Resize(cost); err != nil {
			w.Header().Set("Retry-After", fmt.Sprint(int(refusal.RetryAfter.Seconds())))
			s.refuse(w, r, http.StatusServiceUnavailable, s.refused(c, err))
			return
		}
		s.setDeadlines(c.Control, r)
		if !streaming(r.URL.Path) {
			w = s.inTime(w)
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &requestBody{ReadCloser: r.Body, service: s, caller: c, counted: counted, left: s.RequestBytes}
		}
		next.ServeHTTP(w, r)
	})
}

// setDeadlines sets the deadline for the request to arrive. After that there is none
// until the answer, which may have to wait for its turn, is written.
func (s *Service) setDeadlines(control *http.ResponseController, r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		_ = control.SetReadDeadline(time.Now().Add(s.RequestTimeout))
	}
	if r.ProtoMajor == 1 {
		// The last call on this connection may have left one.
		_ = control.SetWriteDeadline(time.Time{})
	}
}

// shortenQuoted cuts the headers that Connect quotes in errors. No valid one is as long.
func shortenQuoted(h http.Header) {
	for _, name := range []string{
		"Content-Encoding", "Connect-Content-Encoding", "Grpc-Encoding", "Grpc-Timeout", "Connect-Timeout-Ms", "Connect-Protocol-Version",
	} {
		if value := h.Get(name); len(value) > mostQuoted {
			h.Set(name, value[:mostQuoted])
		}
	}
}

func streaming(path string) bool {
	switch path {
	case metricsv1connect.MetricsServiceGetMetricsProcedure, metricsv1connect.MetricsServiceReadLogsProcedure,
		queryv1connect.QueryServiceQueryProcedure, queryv1connect.QueryServiceEvaluateRulesProcedure,
		queryv1connect.QueryServiceReadSeriesProcedure, queryv1connect.QueryServiceFollowTimeProcedure, thanosconnect.StoreSeriesProcedure, healthWatch:
		return true
	}
	return false
}

// compressed says that a request may become as large as the limit, whatever its length.
func compressed(r *http.Request) bool {
	for _, name := range []string{"Content-Encoding", "Connect-Content-Encoding", "Grpc-Encoding"} {
		if encoding := r.Header.Get(name); encoding != "" && encoding != "identity" {
			return true
		}
	}
	return r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "compression=")
}

// requestBody is the body of a request, limited in size and time.
type requestBody struct {
	io.ReadCloser
	service *Service
	caller  call.Caller
	// counted says that the room for the largest request was taken.
	counted bool
	left    int64
	err     error
}

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case b.left < 0:
		err = b.service.requestTooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("the request did not arrive within %s", b.service.RequestTimeout))
	case errors.Is(err, io.EOF):
		// From here on the client may be silent.
		_ = b.caller.Control.SetReadDeadline(time.Time{})
	case err == nil && !b.counted:
		if err = b.caller.Room.Grow(requestCost * int64(n)); err != nil {
			err = b.service.refused(b.caller, err)
		}
	}
	b.err = err
	return n, err
}

func (s *Service) requestTooLarge() error {
	return s.Refusals.Of(limit.Over(FlagRequestBytes, "a request may have %d bytes", s.RequestBytes))
}

// gzipReader ends after as many bytes as a request may have, without inflating the
// rest.
type gzipReader struct {
	in      gzip.Reader
	service *Service
	left    int64
}

func (s *Service) newGzipReader() connect.Decompressor { return &gzipReader{service: s} }

// Reset implements [connect.Decompressor].
func (g *gzipReader) Reset(r io.Reader) error {
	g.left = g.service.RequestBytes
	return g.in.Reset(r)
}

// Read implements [io.Reader].
func (g *gzipReader) Read(p []byte) (int, error) {
	if g.left < 0 {
		return 0, g.service.requestTooLarge()
	}
	// One byte more than is allowed shows that there are more.
	n, err := g.in.Read(p[:min(int64(len(p)), g.left+1)])
	if g.left -= int64(n); g.left < 0 {
		return n, g.service.requestTooLarge()
	}
	return n, err
}

// Close implements [connect.Decompressor].
func (g *gzipReader) Close() error { return g.in.Close() }

// LeastCall is what a single call may take, if a request may have so many bytes.
func LeastCall(requestBytes int64) int64 {
	return answer.CallCost + max(requestCost*requestBytes, answer.Cost*answer.Size+maxLookupLimit*answer.EntryCost)
}
