// Package daemon is what every long-running binary of the project has in
// common: flags with environment variables, a logger, metrics, signals, exit
// codes, a run group, the HTTP server for operators, and the subcommand
// healthcheck, which asks a running program whether it is ready.
//
// The first SIGINT or SIGTERM ends the context of the program, which then
// drains; the second ends the process at once. SIGHUP reloads the files that flags
// name, see [Reload]. Exit codes: 0 after a clean end, 1 after a failure or a second
// signal, 2 for a wrong command line.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"

	"github.com/promgrpc/exporter/internal/usage"
)

// Exit codes.
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2
)

// Setup adds the program's flags to app and returns what to run when they have
// been parsed.
type Setup = func(app *kingpin.Application) func(context.Context, *Env) error

// Env is what a program is given to run with.
type Env struct {
	// Logger writes to standard error.
	Logger *slog.Logger
	// Registry holds metrics of the Go runtime, the process and the build.
	Registry *prometheus.Registry

	reloader *reloader
}

// Main runs the program with its arguments and exits.
func Main(name string, args []string, setup Setup) {
	p := Program{
		Name: name, Setup: setup, Args: args,
		Stdout: os.Stdout, Stderr: os.Stderr, Exit: os.Exit,
	}
	if !signal.Ignored(syscall.SIGHUP) { // Under nohup the end of the terminal is not that of the program.
		p.Terminal = hasTerminal
	}
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Notify(hangups, syscall.SIGHUP)
	p.Signals, p.Hangups = signals, hangups
	os.Exit(p.Run(context.Background()))
}

// Program is a program with everything that it takes from its process.
type Program struct {
	Name           string
	Setup          Setup
	Args           []string
	Stdout, Stderr io.Writer
	// Signals that ask for the end. Nil: none.
	Signals <-chan os.Signal
	// Hangups ask for a reload. Nil: none.
	Hangups <-chan os.Signal
	// Terminal says whether the process belongs to a terminal. Nil: it does not.
	Terminal func() bool
	// Exit ends the process at the second signal.
	Exit func(code int)
}

// Run runs the program until it has ended, or ctx has and it has drained. It
// returns the exit code.
func (p Program) Run(ctx context.Context) int {
	setVersion()
	app := kingpin.New(p.Name, "")
	help := &usage.Writer{W: p.Stdout}
	app.UsageWriter(help)
	app.ErrorWriter(p.Stderr)
	done, code := false, ExitOK
	app.Terminate(func(c int) { done, code = true, c })
	app.Version(version.Print(p.Name))
	app.HelpFlag.Short('h')
	var log logFlags
	log.register(app)
	var health healthcheck
	health.register(app)
	run := p.Setup(app)
	nameEnvars(app)

	command, err := app.Parse(p.Args)
	if done {
		if help.Err != nil {
			fmt.Fprintf(p.Stderr, "%s: %v\n", p.Name, help.Err)
			return ExitFailure
		}
		return code
	}
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s: %v, try --help\n", p.Name, err)
		return ExitUsage
	}
	if command == healthcheckName {
		return p.code(health.run(ctx, app), func(err error) { fmt.Fprintf(p.Stderr, "%s: not ready: %v\n", p.Name, err) })
	}

	env := &Env{Logger: log.logger(p.Stderr), Registry: newRegistry()}
	env.Logger.Info("starting", "program", p.Name, "version", version.Version, "revision", version.GetRevision())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	env.reloader = newReloader(env.Logger, env.Registry)
	go p.watchSignals(ended, cancel, env.Logger)
	go p.watchHangups(ended, cancel, env.reloader)
	ballast := newBallast()
	defer runtime.KeepAlive(ballast)
	err = run(ctx, env)
	if err == nil {
		env.Logger.Info("stopped")
	}
	return p.code(err, func(err error) { env.Logger.Error("stopped", "err", err) })
}

// code returns the exit code for an error. It prints a mistake on the command line
// itself, and leaves other failures to fail.
func (p Program) code(err error, fail func(error)) int {
	var mistake *usage.Error
	switch {
	case errors.As(err, &mistake):
		fmt.Fprintf(p.Stderr, "%s: %v, try --help\n", p.Name, mistake)
		return ExitUsage
	case err != nil:
		fail(err)
		return ExitFailure
	}
	return ExitOK
}

func (p Program) watchSignals(ended <-chan struct{}, drain func(), logger *slog.Logger) {
	select {
	case <-ended:
		return
	case s := <-p.Signals:
		logger.Info("draining", "signal", s.String())
		drain()
	}
	select {
	case <-ended:
	case s := <-p.Signals:
		logger.Warn("killed while draining", "signal", s.String())
		p.Exit(ExitFailure)
	}
}

func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("promgrpc"),
	)
	return reg
}

// setVersion takes the version from the module when the linker gave none.
func setVersion() {
	if version.Version != "" {
		return
	}
	version.Version = "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version.Version = info.Main.Version
	}
}
