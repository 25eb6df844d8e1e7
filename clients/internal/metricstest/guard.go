package metricstest

import (
	"net/http"
	"sync"
)

// Guard is a proxy before a Server that lets in who has its bearer token.
type Guard struct {
	mu    sync.Mutex
	token string
	let   []http.Header
}

// Expect makes a token the one that is let in.
func (g *Guard) Expect(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.token = token
}

// Headers of the requests that were let in.
func (g *Guard) Headers() []http.Header {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]http.Header(nil), g.let...)
}

// Before is what a Server takes.
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
