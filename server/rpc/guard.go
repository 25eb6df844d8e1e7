package rpc

import (
	"log/slog"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/internal/webconfig"
	"github.com/promgrpc/exporter/server/promapi"
)

// guarded lets through who the web configuration file lets in. Anybody may ask for the
// health: balancers have no password.
func (s *Service) guarded(next http.Handler) http.Handler {
	return &webconfig.Guard{
		Config: s.Web,
		Next:   next,
		Open:   asksHealth,
		Peer:   s.peerOf,
		Refuse: func(w http.ResponseWriter, r *http.Request, refused *webconfig.Refused) {
			err := s.Refusals.Of(refused.Err)
			if refused.Status == http.StatusUnauthorized {
				err = connect.NewError(connect.CodeUnauthenticated, refused.Err)
			}
			s.Log.Log(slog.LevelWarn, "call refused by the web configuration file", "peer", s.peerOf(r), "status", refused.Status, "err", refused.Err)
			s.refuse(w, r, refused.Status, err)
		},
	}
}

func asksHealth(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/"+healthName+"/") }

// refuse answers a request as its protocol has it: a call with an error, another one
// with a status.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	w = s.inTime(w)
	if promapi.Serves(r.URL.Path) {
		promapi.Refuse(w, status, err)
		return
	}
	if !connect.NewErrorWriter().IsSupported(r) || r.Method == http.MethodGet && !r.URL.Query().Has("message") {
		http.Error(w, err.Error(), status)
		return
	}
	writeError(w, r, err)
}

// writeError answers a call with an error, by its protocol.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	_ = connect.NewErrorWriter().Write(headed{w}, r, err) // It is the caller who is gone.
}

// headed sends the head of an answer by itself. net/http gives an answer that has no
// body, but trailers with the status of gRPC, a length of 0, after which HAProxy leaves
// out the trailers.
type headed struct{ http.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (h headed) WriteHeader(status int) {
	h.ResponseWriter.WriteHeader(status)
	_ = http.NewResponseController(h.ResponseWriter).Flush()
}
