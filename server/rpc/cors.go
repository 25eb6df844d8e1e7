package rpc

import (
	"net/http"
	"strings"
)

// The headers that Connect and gRPC-Web send from browsers, with the one for a proxy
// that asks for a token or a password, and those that they need to read.
var (
	corsRequest = strings.Join([]string{
		"Content-Type", "Connect-Protocol-Version", "Connect-Timeout-Ms", "Connect-Accept-Encoding", "Connect-Content-Encoding",
		"Grpc-Timeout", "Grpc-Accept-Encoding", "Grpc-Encoding", "X-Grpc-Web", "X-User-Agent",
		// * does not include this one.
		"Authorization",
	}, ", ")
	corsResponse = strings.Join([]string{
		"Connect-Content-Encoding", "Grpc-Encoding", "Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin",
		"Retry-After", "Promgrpc-Instance",
	}, ", ")
)

// cors allows calls by browsers from the configured origins.
func (s *Service) cors(next http.Handler) http.Handler {
	if s.Origins.None() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		w.Header().Add("Vary", "Origin")
		if !s.Origins.Allow(origin) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", corsResponse)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
			w.Header().Set("Access-Control-Allow-Headers", corsRequest)
			w.Header().Set("Access-Control-Max-Age", "7200")
			s.inTime(w).WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
