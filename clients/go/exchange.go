package promgrpc

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// exchange is how far one attempt of a call got, seen from below the libraries,
// whose errors distinguish a server that died from one that refused by their text
// only.
type exchange struct {
	sent     atomic.Bool // the request was sent
	answered atomic.Bool // there was a status, of the server or of a proxy itself
	gateway  atomic.Bool // a proxy said that its server failed to answer
	cancel   context.CancelFunc

	authorization string // that was sent
}

type exchangeKey struct{}

// withExchange returns a context whose call is watched until the function is called.
func withExchange(ctx context.Context) (context.Context, *exchange, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	x := &exchange{cancel: cancel}
	return context.WithValue(ctx, exchangeKey{}, x), x, cancel
}

func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return new(exchange)
}

// unanswered reports whether the request was sent and got no answer.
func (x *exchange) unanswered() bool { return x.sent.Load() && !x.answered.Load() }

// watchGRPC follows calls over gRPC. It does not see answers that are not gRPC, such
// as those of a proxy for a server that died.
type watchGRPC struct{}

func (watchGRPC) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (watchGRPC) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.Begin:
		// When a server dies, HAProxy refuses its streams. grpc-go would repeat the
		// call by itself, at a server that may die as well.
		if x := exchangeOf(ctx); s.IsTransparentRetryAttempt && x.sent.Load() && x.cancel != nil {
			x.cancel()
		}
	case *stats.OutHeader:
		exchangeOf(ctx).sent.Store(true)
	case *stats.InTrailer:
		exchangeOf(ctx).answered.Store(true)
	}
}

func (watchGRPC) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (watchGRPC) HandleConn(context.Context, stats.ConnStats) {}

// watchHTTP follows calls over Connect and gRPC-Web, whose status comes after the
// headers.
type watchHTTP struct{ http.RoundTripper }

func (w watchHTTP) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteHeaders: func() { x.sent.Store(true) },
	})
	res, err := w.RoundTripper.RoundTrip(req.WithContext(ctx))
	if err == nil {
		x.gateway.Store(res.StatusCode == http.StatusBadGateway)
		x.answered.Store(res.StatusCode != http.StatusBadGateway && res.StatusCode != http.StatusOK)
	}
	return res, err
}
