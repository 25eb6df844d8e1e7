package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/browser"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/internal/webconfig"
)

// OpsConfig is the configuration of a part's HTTP server for operators.
type OpsConfig struct {
	// WebAddress to listen on.
	WebAddress string
	// WebConfigFile of exporter-toolkit, with TLS and basic auth.
	WebConfigFile string
	// WebHosts are names of it beside those that [browser.NewHosts] allows.
	WebHosts []string
	// WebConns that may be open at a time.
	WebConns int
	// WebConnStreams are the requests that may be under way on a connection of
	// HTTP/2.
	WebConnStreams int
	// PasswordChecks that may be under way at a time.
	PasswordChecks int
	// Scrapes of /metrics that may be under way at a time.
	Scrapes int
}

// DefaultOpsConfig returns the defaults of all flags.
func DefaultOpsConfig() OpsConfig {
	return OpsConfig{WebAddress: ":8080", WebConns: 4096, WebConnStreams: 16, PasswordChecks: webconfig.DefaultPasswordChecks, Scrapes: 8}
}

const (
	flagWebAddress     = "--web.listen-address"
	flagWebHost        = "--web.allowed-host"
	flagWebConfig      = "--web.config.file"
	flagWebConnections = "--limit.web-connections"
	flagWebConnStreams = "--limit.web-connection-streams"
	flagScrapes        = "--limit.scrapes"
)

// RegisterFlags adds --web.listen-address, --web.config.file, --web.allowed-host,
// --limit.web-connections, --limit.web-connection-streams, --limit.password-checks and
// --limit.scrapes, which default to what c holds.
func (c *OpsConfig) RegisterFlags(app *kingpin.Application) {
	address.ListenVar(app.Flag(flagWebAddress[2:], "Address of the HTTP server.").
		Default(c.WebAddress), &c.WebAddress)
	WebConfigFlag(app, &c.WebConfigFile)
	HostFlag(app, &c.WebHosts)
	app.Flag(flagWebConnections[2:], "Most connections to the HTTP server that are open at a time, half of them from one address; at most a quarter of the files that the process may open.").
		Default(strconv.Itoa(c.WebConns)).IntVar(&c.WebConns)
	app.Flag(flagWebConnStreams[2:], "Most requests that are under way on one connection of HTTP/2 to the HTTP server; clients with more open another, or wait.").
		Default(strconv.Itoa(c.WebConnStreams)).IntVar(&c.WebConnStreams)
	app.Flag(webconfig.FlagPasswordChecks[2:], "Most passwords of each listener that are checked at a time, half of them of one address; one is checked after the other, and senders beyond are told to retry.").
		Default(strconv.Itoa(c.PasswordChecks)).IntVar(&c.PasswordChecks)
	app.Flag(flagScrapes[2:], "Most scrapes of /metrics that are under way at a time, half of them of one address.").
		Default(strconv.Itoa(c.Scrapes)).IntVar(&c.Scrapes)
}

// WebConfigFlag adds --web.config.file alone.
func WebConfigFlag(app *kingpin.Application, file *string) {
	app.Flag(flagWebConfig[2:], "File with TLS and basic auth for the HTTP server, see https://github.com/prometheus/exporter-toolkit. /-/healthy and /-/ready need no password.").
		PlaceHolder("FILE").StringVar(file)
}

// HostFlag adds --web.allowed-host alone.
func HostFlag(app *kingpin.Application, hosts *[]string) {
	app.Flag(flagWebHost[2:], "Name that the HTTP server is called by without TLS, *.DOMAIN for all names below a domain, or * for any. Repeatable. "+browser.AlwaysAllowed).
		PlaceHolder("HOST").StringsVar(hosts)
}

func (c *OpsConfig) check() error {
	for _, positive := range []struct {
		flag  string
		value int
	}{
		{flagWebConnections, c.WebConns},
		{flagWebConnStreams, c.WebConnStreams},
		{webconfig.FlagPasswordChecks, c.PasswordChecks},
		{flagScrapes, c.Scrapes},
	} {
		if positive.value < 1 {
			return usage.Errorf("%s has to be above zero", positive.flag)
		}
	}
	return nil
}

// Remark is what is wrong with a program that is ready all the same.
type Remark string

// Error implements error.
func (r Remark) Error() string { return string(r) }

// NewOps binds a server for /metrics, /-/healthy and /-/ready. Run it with
// [Web.Run]. Ready says why the program is not ready, with nil or a [Remark] when it is.
func NewOps(c OpsConfig, logger *slog.Logger, reg prometheus.Registerer, ready func() error) (*Web, error) {
	mux := http.NewServeMux()
	HandleOps(mux, c, logger, reg, ready, "")
	return NewWeb(WebOptions{OpsConfig: c, Handler: mux, Logger: logger, Registerer: reg})
}

// gathererOf returns what shows the metrics registered with reg: reg itself
// where it can, as a *prometheus.Registry does, and otherwise nothing.
func gathererOf(reg prometheus.Registerer) prometheus.Gatherer {
	if g, ok := reg.(prometheus.Gatherer); ok {
		return g
	}
	return prometheus.Gatherers{}
}

// HandleOps adds /metrics, with what is registered with reg, /-/healthy and
// /-/ready to mux. For all other paths the answer says what there is, and with that
// what the caller has added.
func HandleOps(mux *http.ServeMux, c OpsConfig, logger *slog.Logger, reg prometheus.Registerer, ready func() error, added string) {
	there := added + "GET " + pathMetrics + ", " + pathHealthy + " and " + pathReady + " are there"
	mux.Handle("/", newStrangers(reg, throttle.New(logger, quietly)).nothingThere(there))
	mux.Handle("GET "+pathMetrics, newScrapes(c.Scrapes, gathererOf(reg), newOverLimit(reg)))
	mux.HandleFunc("GET "+pathHealthy, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "healthy\n")
	})
	mux.HandleFunc("GET "+pathReady, func(w http.ResponseWriter, _ *http.Request) {
		err := ready()
		if remark := Remark(""); errors.As(err, &remark) {
			_, _ = fmt.Fprintf(w, "ready, but %s\n", remark)
			return
		}
		if err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
}
