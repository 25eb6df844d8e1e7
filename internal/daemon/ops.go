package daemon

import (
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// OpsConfig is the configuration of a part's HTTP server for operators.
type OpsConfig struct {
	// WebAddress to listen on.
	WebAddress string
	// WebConfigFile of exporter-toolkit, with TLS and basic auth.
	WebConfigFile string
	// WebConns that may be open at a time.
	WebConns int
}

// DefaultOpsConfig returns the defaults of all flags.
func DefaultOpsConfig() OpsConfig { return OpsConfig{WebAddress: ":8080", WebConns: 4096} }

const flagWebConnections = "--limit.web-connections"

// RegisterFlags adds --web.listen-address, --web.config.file and
// --limit.web-connections, which default to what c holds.
func (c *OpsConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag("web.listen-address", "Address of the HTTP server.").
		Default(c.WebAddress).StringVar(&c.WebAddress)
	app.Flag("web.config.file", "File with TLS and basic auth for the HTTP server, see https://github.com/prometheus/exporter-toolkit.").
		PlaceHolder("FILE").StringVar(&c.WebConfigFile)
	app.Flag(flagWebConnections[2:], "Most connections to the HTTP server that are open at a time, half of them from one address; at most a quarter of the files that the process may open.").
		Default(strconv.Itoa(c.WebConns)).IntVar(&c.WebConns)
}

// NewOps binds a server for /metrics, /-/healthy and /-/ready. Run it with
// [Web.Run]. Ready says why the program is not ready, with nil when it is.
func NewOps(c OpsConfig, logger *slog.Logger, reg prometheus.Registerer, ready func() error) (*Web, error) {
	mux := http.NewServeMux()
	HandleOps(mux, GathererOf(reg), ready)
	return NewWeb(WebOptions{
		Address: c.WebAddress, ConfigFile: c.WebConfigFile, Handler: mux,
		Connections: c.WebConns, Logger: logger, Registerer: reg,
	})
}

// GathererOf returns what shows the metrics registered with reg: reg itself
// where it can, as a *prometheus.Registry does, and otherwise nothing.
func GathererOf(reg prometheus.Registerer) prometheus.Gatherer {
	if g, ok := reg.(prometheus.Gatherer); ok {
		return g
	}
	return prometheus.Gatherers{}
}

// HandleOps adds /metrics, /-/healthy and /-/ready to mux.
func HandleOps(mux *http.ServeMux, g prometheus.Gatherer, ready func() error) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "healthy\n")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
}
