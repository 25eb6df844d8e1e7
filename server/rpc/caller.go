package rpc

import (
	"context"
	"net/http"

	"github.com/promgrpc/exporter/server/stream"
)

type callerKey struct{}

// callerOf returns the caller of the call that a context belongs to.
func callerOf(ctx context.Context) stream.Caller {
	c, _ := ctx.Value(callerKey{}).(stream.Caller)
	return c
}

// withCaller puts the caller into the context of the handlers that it wraps. A call that
// was given up before it got here costs nothing more.
func (s *Service) withCaller(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Err() != nil {
			return
		}
		c := stream.Caller{Peer: s.peerOf(r), Writer: w, Control: http.NewResponseController(w)}
		c.Room = s.Bytes.Hold(c.Peer)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}
