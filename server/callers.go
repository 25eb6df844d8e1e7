package server

import (
	"context"
	"net/http"
)

type callerKey struct{}

// callerOf returns the caller of the call that a context belongs to.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// withCaller lets the handlers that it wraps know the caller. A call that was given
// up before its turn came costs nothing more.
func (s *Server) withCaller(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Err() != nil {
			return
		}
		c := caller{peer: s.proxies.Of(r), writer: w, control: http.NewResponseController(w)}
		c.room = s.calls.Hold(c.peer)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}
