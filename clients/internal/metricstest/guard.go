package metricstest

import (
	"net/http"
	"sync"
)

// Guard is a proxy in front of a Server that demands a bearer token.
type Guard struct {
	mu    sync.Mutex
	token string
	let   []http.Header
}

// Expect sets the token that is demanded.
func (g *Guard) Expect(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.token = token
}

// Headers returns those of the requests that had the token.
func (g *Guard) Headers() []http.Header {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]http.Header(nil), g.let...)
}

// Before is for Server.Before.
func (g *Guard) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.admit(r.Header) {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *Guard) admit(h http.Header) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.Get("Authorization") != "Bearer "+g.token {
		return false
	}
	g.let = append(g.let, h.Clone())
	return true
}
