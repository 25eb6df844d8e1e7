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
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/listen"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/internal/usage"
)

// quietly is how often a log line that clients can cause is repeated.
const quietly = 10 * time.Second

// WebOptions of a web server.
type WebOptions struct {
	// Address to listen on, port 0 for any.
	Address string
	// ConfigFile of exporter-toolkit, with TLS and basic auth. "": neither.
	ConfigFile string
	// Hosts are names of it beside those that [browser.NewHosts] allows.
	Hosts []string
	// Handler of all requests.
	Handler http.Handler
	// Connections that may be open at a time.
	Connections int
	// ConnStreams are the requests that may be under way on a connection of HTTP/2.
	ConnStreams int
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
	listener net.Listener
	server   *http.Server
	unused   UnusedConns
	quiet    *throttle.Logger
}

// NewWeb binds the address, logs it, and checks the configuration file.
func NewWeb(o WebOptions) (*Web, error) {
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 30*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, time.Minute)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 10*time.Second)
	if err := web.Validate(o.ConfigFile); err != nil {
		return nil, &usage.Error{Err: fmt.Errorf("web config file %s: %w", o.ConfigFile, err)}
	}
	switch {
	case o.Connections < 1:
		return nil, usage.Errorf("%s has to be above zero", flagWebConnections)
	case o.ConnStreams < 1:
		return nil, usage.Errorf("%s has to be above zero", flagWebConnStreams)
	}
	doors, err := webDoors(o.Hosts)
	if err != nil {
		return nil, err
	}
	l, err := listen.TCP(flagWebAddress, o.Address)
	if err != nil {
		return nil, err
	}
	LogListening(o.Logger, "web", l.Addr())
	quiet := throttle.New(o.Logger, quietly)
	w := &Web{o: o, quiet: quiet}
	w.listener = boundConnections(l, o, quiet)
	strangers := newStrangers(o.Registerer, quiet)
	doors.Refuse = strangers.refusePage
	o.Handler = doors.Handler(o.Handler)
	w.server = &http.Server{
		Handler:           admitted(o.Handler),
		Protocols:         webProtocols(),
		HTTP2:             webHTTP2(o),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       o.ReadTimeout,
		WriteTimeout:      o.WriteTimeout,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(quiet.Writer(slog.LevelWarn, "http server"), "", 0),
		ConnState:         w.unused.Track,
		// exporter-toolkit has put its own handler before ours when this is called,
		// and there is no connection yet.
		BaseContext: func(net.Listener) context.Context {
			if o.ConfigFile != "" {
				w.server.Handler = &guard{toolkit: w.server.Handler, handler: o.Handler, strangers: strangers}
			}
			return context.Background()
		},
	}
	return w, nil
}

// webProtocols are those that senders and operators' tools speak, HTTP/2 without TLS
// included, for clients with prior knowledge.
func webProtocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// webHTTP2 keeps HTTP/2 connections cheap: net/http would buffer a megabyte that nobody
// reads.
func webHTTP2(o WebOptions) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          o.ConnStreams,
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
	most := int64(limit.Connections(o.Connections))
	return &limit.Listener{
		Listener: l,
		Budget:   limit.NewBudget(flagWebConnections, "connections", most, max(1, most/2)),
		Refused: func(remote net.Addr, err error) {
			refused.Inc()
			logger.Log(slog.LevelWarn, "http connection closed", "peer", remote.String(), "err", err)
		},
	}
}

// LogListening logs the address that a listener got. Whoever starts the program
// with port 0 reads it there.
func LogListening(logger *slog.Logger, listener string, addr net.Addr) {
	logger.Info("listening", "listener", listener, "address", addr.String())
}

// Reloads is the configuration file, if there is one. It is read for each request and
// each handshake, as it is: while it is broken, requests are refused. Whether there is
// TLS at all was decided at the start.
func (w *Web) Reloads() []Reload {
	if w.o.ConfigFile == "" {
		return nil
	}
	return []Reload{{What: "--web.config.file " + w.o.ConfigFile, Again: func() error { return web.Validate(w.o.ConfigFile) }}}
}

// Addr returns the address that was bound.
func (w *Web) Addr() net.Addr { return w.listener.Addr() }

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
	go func() {
		ended <- web.Serve(w.listener, w.server, &web.FlagConfig{WebConfigFile: &w.o.ConfigFile}, slog.New(toolkitLog{w.quiet}))
	}()
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
