package daemon

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/peer"
	"github.com/promgrpc/exporter/internal/register"
)

// scrapeTimeout is longer than anyone waits for metrics.
const scrapeTimeout = 30 * time.Second

// newScrapes returns the handler of /metrics. At most so many scrapes are under way at
// a time, and half of them from one address. An answer is written to memory first, so
// that a scrape is over once its metrics are gathered, however slowly it is read.
func newScrapes(most int, g prometheus.Gatherer, refused *prometheus.CounterVec) http.Handler {
	metrics := promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true})
	scrapes := limit.NewBudget(flagScrapes, "scrapes", int64(most), max(1, int64(most)/2))
	bounded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slot := scrapes.Hold(peer.At(r.RemoteAddr))
		if err := slot.Resize(1); err != nil {
			refuseScrape(w, refused, err)
			return
		}
		defer slot.Release()
		metrics.ServeHTTP(w, r)
	})
	return http.TimeoutHandler(bounded, scrapeTimeout, "gathering the metrics takes too long\n")
}

func refuseScrape(w http.ResponseWriter, refused *prometheus.CounterVec, err error) {
	refused.WithLabelValues(limit.Name(flagScrapes)).Inc()
	w.Header().Set("Retry-After", "1")
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// newOverLimit returns the counter of what HTTP servers refuse, one for all that
// register with reg.
func newOverLimit(reg prometheus.Registerer) *prometheus.CounterVec {
	return register.Shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promgrpc_web_over_limit_total",
		Help: "Connections to the HTTP server closed, and scrapes and passwords refused, because of a limit, by the name of its flag without --limit.",
	}, []string{"limit"}))
}
