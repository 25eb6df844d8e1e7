package promgrpc

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// exchange is how far one attempt of a call got, seen from below the libraries:
// their errors tell a server that died and one that refused by words alone.
type exchange struct {
	sent     atomic.Bool // the request went out
	answered atomic.Bool // there was a status, of the server or of a proxy for itself
	gateway  atomic.Bool // a proxy told that the server behind it failed to answer
	cancel   context.CancelFunc
}

type exchangeKey struct{}

// withExchange returns a context whose call is watched, until the function is
// called.
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

// open says that the request was sent and nobody answered it.
func (x *exchange) open() bool { return x.sent.Load() && !x.answered.Load() }

// watchGRPC notes what becomes of calls over gRPC. An answer that is not gRPC, as
// a proxy gives it for a server that died, does not come by here.
type watchGRPC struct{}

func (watchGRPC) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (watchGRPC) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.Begin:
		// HAProxy calls a stream refused whose server died. grpc-go would make the
		// call again by itself, with a server that may die as well.
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

// watchHTTP notes what becomes of calls over Connect and gRPC-Web, whose status
// may still fail to come after the headers.
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
