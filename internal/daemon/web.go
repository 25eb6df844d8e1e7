package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/listen"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/internal/webconfig"
)

// quietly is how often a log line that clients can cause is repeated.
const quietly = 10 * time.Second

// WebOptions of a web server.
type WebOptions struct {
	OpsConfig
	// Handler of all requests, which finds who makes them by [identity.Of].
	Handler http.Handler
	// Policies decide what a caller may do.
	Policies bool
	// ProvesToken says of which requests the handler proves the bearer tokens: these
	// need no password. Nil: of none.
	ProvesToken func(*http.Request) bool
	// Logger is not nil.
	Logger *slog.Logger
	// Registerer of the server's metrics. Nil: none.
	Registerer prometheus.Registerer
	// ReadTimeout for a whole request. 0: 30 s.
	ReadTimeout time.Duration
	// WriteTimeout from a request's header to the end of its answer. 0: 1 min.
	WriteTimeout time.Duration
	// DrainTimeout that requests under way are given. 0: 10 s.
	DrainTimeout time.Duration
}

// Web is an HTTP server for answers that end; it is not for streams.
type Web struct {
	o        WebOptions
	config   *webconfig.Config
	bound    net.Addr
	listener net.Listener
	server   *http.Server
	unused   UnusedConns
}

// NewWeb binds the address, logs it, and checks the configuration file.
func NewWeb(o WebOptions) (*Web, error) {
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 30*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, time.Minute)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 10*time.Second)
	if err := o.check(); err != nil {
		return nil, err
	}
	config, err := webconfig.Open(flagWebConfig, o.WebConfigFile, o.Logger)
	if err != nil {
		return nil, err
	}
	config.Register(o.Registerer)
	config.LetTokensPass(o.ProvesToken)
	config.LimitChecks(o.PasswordChecks, max(1, o.PasswordChecks/2))
	doors, err := webDoors(o.WebHosts)
	if err != nil {
		return nil, err
	}
	l, err := listen.TCP(flagWebAddress, o.WebAddress)
	if err != nil {
		return nil, err
	}
	quiet := throttle.New(o.Logger, quietly)
	w := &Web{o: o, config: config, bound: l.Addr()}
	w.Listener().Log(o.Logger)
	w.listener = boundConnections(config.Listener(l), o, quiet)
	strangers := newStrangers(o.Registerer, quiet)
	doors.Refuse = strangers.refusePage
	w.server = &http.Server{
		// Pages of others are refused before a password is checked, which costs work.
		Handler:           webconfig.WithTLS(doors.Handler(guarded(o, config, strangers))),
		Protocols:         webProtocols(),
		HTTP2:             webHTTP2(o),
		ConnContext:       webconfig.ConnContext,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       o.ReadTimeout,
		WriteTimeout:      o.WriteTimeout,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(quiet.Writer(slog.LevelWarn, "http server"), "", 0),
		ConnState:         w.unused.Track,
	}
	return w, nil
}

// webProtocols are those that senders and operators' tools speak. HTTP/2 is for clients
// that know of it before, or have agreed on it in the TLS beneath.
func webProtocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// webHTTP2 keeps HTTP/2 connections cheap: net/http would buffer a megabyte that nobody
// reads.
func webHTTP2(o WebOptions) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          o.WebConnStreams,
		MaxReceiveBufferPerConnection: 64 << 10,
		MaxReceiveBufferPerStream:     64 << 10,
		SendPingTimeout:               30 * time.Second,
		PingTimeout:                   15 * time.Second,
	}
}

// boundConnections closes connections beyond the limit, of which one address may have
// half.
func boundConnections(l net.Listener, o WebOptions, logger *throttle.Logger) net.Listener {
	refused := newOverLimit(o.Registerer).WithLabelValues(limit.Name(flagWebConnections))
	most := int64(limit.Connections(o.WebConns))
	return &limit.Listener{
		Listener: l,
		Budget:   limit.NewBudget(flagWebConnections, "connections", most, max(1, most/2)),
		Refused: func(remote net.Addr, err error) {
			refused.Inc()
			logger.Log(slog.LevelWarn, "http connection closed", "peer", remote.String(), "err", err)
		},
	}
}

// Listener says where it listens, and what protects it.
func (w *Web) Listener() Listener {
	l := NewListener("web", w.bound, w.config, flagWebConfig)
	l.Policies = w.o.Policies
	return l
}

// Reloads is the configuration file, if there is one.
func (w *Web) Reloads() []Reload {
	return Reloads(Reload{What: flagWebConfig + " " + w.o.WebConfigFile, Again: w.config.Again()})
}

// Addr returns the address that was bound.
func (w *Web) Addr() net.Addr { return w.bound }

// SecuresTLS says whether it is called by https.
func (w *Web) SecuresTLS() bool { return w.config.SecuresTLS() }

// Close frees the address and breaks off requests under way. It may be called
// twice, and before Run.
func (w *Web) Close() error {
	err := w.server.Close()
	if lerr := w.listener.Close(); err == nil && !errors.Is(lerr, net.ErrClosed) {
		err = lerr
	}
	return err
}

// Run serves until ctx ends, then takes no more connections and gives requests
// under way DrainTimeout to be answered.
func (w *Web) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- w.server.Serve(w.listener) }()
	select {
	case err := <-ended:
		_ = w.Close()
		return served(err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.o.DrainTimeout)
	defer cancel()
	w.unused.Close()
	if err := w.server.Shutdown(drain); err != nil {
		w.o.Logger.Warn("requests broken off", "after", w.o.DrainTimeout)
	}
	_ = w.Close()
	return served(<-ended)
}

// served returns nil for the error of a server that was asked to end.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("web: %w", err)
}
