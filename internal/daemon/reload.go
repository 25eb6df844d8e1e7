package daemon

import (
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Reload is what a program reads from files, which can be renewed while it runs.
type Reload struct {
	// What it is, for the log.
	What string
	// Again reads it, and says why it cannot be used.
	Again func() error
}

// Reloads returns the list without those that have nothing to read.
func Reloads(list ...Reload) []Reload {
	return slices.DeleteFunc(list, func(r Reload) bool { return r.Again == nil })
}

// reloader reloads everything that a program has read from files.
type reloader struct {
	logger     *slog.Logger
	successful prometheus.Gauge
	succeeded  prometheus.Gauge

	mu  sync.Mutex
	all []Reload
}

func newReloader(logger *slog.Logger, reg prometheus.Registerer) *reloader {
	r := &reloader{
		logger: logger,
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promgrpc_config_last_reload_successful",
			Help: "Whether all files could be read at the start, or at the last SIGHUP.",
		}),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promgrpc_config_last_reload_success_timestamp_seconds",
			Help: "When all files could be read last, at the start or at a SIGHUP.",
		}),
	}
	reg.MustRegister(r.successful, r.succeeded)
	r.successful.Set(1)
	r.succeeded.SetToCurrentTime()
	return r
}

// OnReload makes SIGHUP reload these, too.
func (e *Env) OnReload(more ...Reload) {
	e.reloader.mu.Lock()
	defer e.reloader.mu.Unlock()
	e.reloader.all = append(e.reloader.all, more...)
}

// reload reloads everything, even if some of it fails.
func (r *reloader) reload() {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed := false
	for _, one := range r.all {
		if err := one.Again(); err != nil {
			failed = true
			r.logger.Error("not reloaded", "what", one.What, "err", err)
			continue
		}
		r.logger.Info("reloaded", "what", one.What)
	}
	switch {
	case failed:
		r.successful.Set(0)
		return
	case len(r.all) == 0:
		r.logger.Info("nothing to reload, no flag names a file")
	}
	r.successful.Set(1)
	r.succeeded.SetToCurrentTime()
}

// watchHangups reloads at each SIGHUP. One that comes because the program's terminal
// was closed ends the program instead.
func (p Program) watchHangups(ended <-chan struct{}, drain func(), r *reloader) {
	attached := p.Terminal != nil && p.Terminal()
	for {
		select {
		case <-ended:
			return
		case <-p.Hangups:
		}
		if attached && !p.Terminal() {
			r.logger.Info("draining, the terminal was closed")
			drain()
			return
		}
		r.reload()
	}
}

// hasTerminal says whether the process belongs to a terminal.
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}
