package rpc

import (
	"context"
	"net/http"

	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/selection"
)

type callerKey struct{}

// callerOf returns the caller of the call that a context belongs to.
func callerOf(ctx context.Context) call.Caller {
	c, _ := ctx.Value(callerKey{}).(call.Caller)
	return c
}

func viewerOf(ctx context.Context) selection.Viewer {
	c := callerOf(ctx)
	return c.Viewer()
}

// withCaller puts the caller into the context of the handlers that it wraps, and refuses
// one that may not make the call. A call that was given up before it got here costs
// nothing more.
func (s *Service) withCaller(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Err() != nil {
			return
		}
		c := call.Caller{Peer: s.peerOf(r), Identity: s.identityOf(r), Writer: w, Control: http.NewResponseController(w)}
		if err := s.letIn(&c, r.URL.Path); err != nil {
			s.deny(w, r, err)
			return
		}
		c.Room = s.Bytes.Hold(c.Peer).With(c.Rights.Memory())
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}
