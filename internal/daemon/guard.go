package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/peer"
	"github.com/promgrpc/exporter/internal/register"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/internal/webconfig"
)

const (
	pathMetrics = "/metrics"
	pathHealthy = "/-/healthy"
	pathReady   = "/-/ready"
)

// strangers are requests that reach no handler of ours. Their senders may drop what is
// in them for good, so they are counted and logged.
type strangers struct {
	refused *prometheus.CounterVec
	log     *throttle.Logger
}

func newStrangers(reg prometheus.Registerer, log *throttle.Logger) *strangers {
	refused := register.Shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promgrpc_web_refused_requests_total",
		Help: "Requests to the HTTP server that came to nothing that is there, by status code: 401 without the name and password of --web.config.file, 429 over its rate limit, 503 while too many passwords are checked, 404 for an unknown path, 403 of a web page of another origin, 421 by a name that --web.allowed-host does not have.",
	}, []string{"code"}))
	for _, code := range []string{"401", "404"} {
		refused.WithLabelValues(code)
	}
	return &strangers{refused, log}
}

// nothingThere answers requests for paths that do not exist with those that do.
func (s *strangers) nothingThere(there string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.count(http.StatusNotFound)
		level := slog.LevelWarn
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			level = slog.LevelDebug // A browser that looks for an icon loses nothing.
		}
		s.log.Log(level, "request for what is not there", attributes(r)...)
		http.Error(w, fmt.Sprintf("nothing takes %s %q here: %s", r.Method, Excerpt(r.URL.Path), there), http.StatusNotFound)
	})
}

func (s *strangers) count(status int) { s.refused.WithLabelValues(fmt.Sprint(status)).Inc() }

func attributes(r *http.Request) []any {
	return []any{
		"peer", r.RemoteAddr, "method", Excerpt(r.Method), "path", Excerpt(r.URL.Path), "user_agent", Excerpt(r.UserAgent()),
	}
}

// Excerpt cuts what a client wrote to a length for messages.
func Excerpt(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// guarded lets through who the web config file lets in, and counts the others. Anybody
// may ask whether a program is alive and ready: container engines and balancers have no
// password.
func guarded(o WebOptions, config *webconfig.Config, s *strangers) http.Handler {
	over := newOverLimit(o.Registerer)
	return &webconfig.Guard{
		Config: config,
		Next:   o.Handler,
		Open:   open,
		Peer:   func(r *http.Request) string { return peer.At(r.RemoteAddr) },
		Refuse: func(w http.ResponseWriter, r *http.Request, refused *webconfig.Refused) {
			s.count(refused.Status)
			var limited *limit.Error
			if errors.As(refused.Err, &limited) {
				over.WithLabelValues(limited.Name).Inc()
			}
			s.log.Log(slog.LevelWarn, "request refused by the web config file",
				append([]any{"status", refused.Status, "err", refused.Err}, attributes(r)...)...)
			http.Error(w, refused.Err.Error(), refused.Status)
		},
	}
}

func open(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.URL.Path == pathHealthy || r.URL.Path == pathReady)
}
