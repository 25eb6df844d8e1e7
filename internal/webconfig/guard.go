package webconfig

import (
	"net/http"

	"github.com/promgrpc/exporter/internal/identity"
	"github.com/promgrpc/exporter/internal/limit"
)

// Guard lets requests through to a handler as a file says, with who makes them in their
// context, see [identity.Of]. It goes beneath [WithTLS].
type Guard struct {
	// Config may be nil.
	Config *Config
	// Next is what it guards.
	Next http.Handler
	// Open requests need no password, whoever they are of.
	Open func(*http.Request) bool
	// Peer that a request is of, for limits.
	Peer func(*http.Request) string
	// Refuse answers a request that is not let in.
	Refuse func(http.ResponseWriter, *http.Request, *Refused)
}

// ServeHTTP implements [http.Handler].
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := g.Config.now()
	for name, value := range s.headers {
		w.Header().Set(name, value)
	}
	id, refused := g.admit(s, r)
	if refused != nil {
		refused.setHeaders(w.Header())
		g.Refuse(w, r, refused)
		return
	}
	if !id.IsAnybody() { // A context costs allocations, which every request would pay.
		r = r.WithContext(identity.NewContext(r.Context(), id))
	}
	g.Next.ServeHTTP(w, r)
}

func (g *Guard) admit(s *settings, r *http.Request) (identity.Identity, *Refused) {
	switch {
	case g.Open(r):
		return identity.Identity{Names: identity.NamesOf(r.TLS)}, nil
	case s.limiter != nil && !s.limiter.Allow():
		return identity.Identity{}, &Refused{Status: http.StatusTooManyRequests, Err: errRate}
	}
	return g.Config.identify(s, r, g.Peer(r))
}

var errRate = limit.Busy("rate_limit", "there are more requests than the web configuration file allows")
