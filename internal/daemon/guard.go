package daemon

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/register"
	"github.com/promgrpc/exporter/internal/throttle"
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
		Help: "Requests to the HTTP server that came to nothing that is there, by status code: 401 without the name and password of --web.config.file, 429 over its rate limit, 500 while it cannot be read, 404 for an unknown path, 403 of a web page of another origin, 421 by a name that --web.allowed-host does not have.",
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

// guard leaves names and passwords to exporter-toolkit, and counts the requests that it
// refuses. Anybody may ask whether a program is alive and ready: container engines and
// balancers have no password.
type guard struct {
	toolkit   http.Handler
	handler   http.Handler // what it guards
	strangers *strangers
}

// ServeHTTP implements [http.Handler].
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if open(r) {
		g.handler.ServeHTTP(w, r)
		return
	}
	answer := &toolkitAnswer{ResponseWriter: w}
	g.toolkit.ServeHTTP(answer, r)
	if answer.status == 0 {
		return
	}
	g.strangers.count(answer.status)
	g.strangers.log.Log(slog.LevelWarn, "request refused by the web config file",
		append([]any{"status", answer.status}, attributes(r)...)...)
}

func open(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.URL.Path == pathHealthy || r.URL.Path == pathReady)
}

// toolkitAnswer is what exporter-toolkit answers itself, if it does.
type toolkitAnswer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (v *toolkitAnswer) WriteHeader(status int) {
	v.status = status
	v.ResponseWriter.WriteHeader(status)
}

// admitted is what exporter-toolkit lets through. It gets the connection's own
// writer, which can do more than that.
func admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v, ok := w.(*toolkitAnswer); ok {
			w = v.ResponseWriter
		}
		next.ServeHTTP(w, r)
	})
}
