// Package cli is prometheus-grpc-client: it prints the metrics of a MetricsService,
// and follows them.
//
// Guaranteed: samples and answers go to standard output, everything else to
// standard error, and the exit code says what kind of failure ended the program, see
// the Exit constants. A reader that closes the pipe ends it quietly, even while
// there is nothing to write. Not guaranteed: each sample exactly once with a cursor
// file; after a crash the last second may come again.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
	"golang.org/x/term"

	"github.com/promgrpc/exporter/clients/cli/output"
	"github.com/promgrpc/exporter/internal/usage"
)

const program = "prometheus-grpc-client"

// The exit codes.
const (
	ExitOK          = 0 // also when interrupted while following, or by a closed pipe
	ExitFailure     = 1
	ExitUsage       = 2
	ExitUnreachable = 3
	ExitOutOfRange  = 4
	ExitSuspect     = 5
)

const help = `Prints Prometheus metrics from a MetricsService, and what PromQL expressions come to, and follows them.

With several addresses, a stream that breaks resumes at the next one, right after the last sample.

Exit codes: 0 ok, also when interrupted while following; 1 failure; 2 wrong usage; 3 no server could be reached; 4 the cursor is older than what the server retains; 5 servers died while they answered this call, so it is not repeated.`

// drainTime is how long an interrupted program may take to end.
const drainTime = 1500 * time.Millisecond

// environment is what a run uses of the process.
type environment struct {
	stdout, stderr io.Writer
	close          func() error // of stdout, nil if there is nothing to close
	output         *os.File     // stdout, if it is a file
	terminal       bool         // stdout is a terminal
	colour         bool
	unicode        bool // the locale has more than ASCII
	// messagesTerminal says that stderr is a terminal.
	messagesTerminal bool
	// size of the terminal that stdout is, in characters.
	size func() (width, height int, err error)
	// screen and messages are stdout and stderr unescaped, for what draws on a
	// terminal and escapes the text of others itself.
	screen, messages io.Writer
}

// guarded returns the environment with writers that escape what would control a
// terminal, and a function that ends standard output.
func (e environment) guarded() (environment, func() error) {
	e.screen, e.messages = e.stdout, e.stderr
	finish := func() error { return nil }
	if e.terminal {
		v := output.NewVisibleWriter(e.screen, e.colour)
		e.stdout, finish = v, v.Finish
	}
	return e.withMessages(e.messages), func() error {
		err := finish()
		if e.close != nil {
			err = errors.Join(err, e.close()) // Some file systems report only now what they could not store.
		}
		return err
	}
}

// withMessages returns the environment with w as stderr.
func (e environment) withMessages(w io.Writer) environment {
	e.stderr = w
	if e.messagesTerminal {
		e.stderr = output.NewVisibleWriter(w, false)
	}
	return e
}

// errInterrupted is the cause of the context after the first signal.
var errInterrupted = errors.New("interrupted")

// Main runs the program and returns its exit code. A second signal kills it.
func Main() int {
	signal.Ignore(syscall.SIGPIPE) // so that writing returns EPIPE
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		<-signals
		signal.Stop(signals)
		cancel(errInterrupted)
		// The reader of our output may have stopped reading. The output is incomplete
		// then, and a cursor file does not cover all of it.
		time.Sleep(drainTime)
		_, _ = fmt.Fprintf(os.Stderr, "%s: error: interrupted, and the output was not taken within %s\n", program, drainTime)
		os.Exit(ExitFailure)
	}()
	terminal := term.IsTerminal(int(os.Stdout.Fd()))
	return run(ctx, os.Args[1:], environment{
		stdout: os.Stdout, stderr: os.Stderr, output: os.Stdout, close: os.Stdout.Close,
		terminal:         terminal,
		messagesTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		size:             func() (int, int, error) { return term.GetSize(int(os.Stdout.Fd())) },
		colour:           terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		unicode:          hasUnicode(os.Getenv),
	})
}

// hasUnicode reports whether the locale of the environment is one of UTF-8.
func hasUnicode(variable func(string) string) bool {
	locale := strings.ToLower(cmp.Or(variable("LC_ALL"), variable("LC_CTYPE"), variable("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}

// terminated is what kingpin panics with instead of exiting.
type terminated int

func run(ctx context.Context, args []string, env environment) (code int) {
	env, finish := env.guarded()
	defer func() {
		if err := finish(); err != nil && code == ExitOK {
			code = report(env, fmt.Errorf("standard output: %w", err))
		}
	}()
	helpOut := &usage.Writer{W: env.stdout}
	defer func() {
		if r := recover(); r != nil {
			t, ok := r.(terminated)
			if !ok {
				panic(r)
			}
			if code = int(t); code == ExitOK {
				code = report(env, helpOut.Err)
			}
		}
	}()
	app := kingpin.New(program, help)
	app.HelpFlag.Short('h')
	app.Version(version.Print(program))
	app.Terminate(func(code int) { panic(terminated(code)) })
	app.UsageWriter(helpOut)
	app.ErrorWriter(env.stderr)

	var c connection
	commands := map[string]func(context.Context, environment) error{}
	for _, register := range []func(*kingpin.Application, *connection) (string, func(context.Context, environment) error){
		registerGet, registerQuery, registerAlerts, registerLabels, registerMetadata, registerSegments, registerStatus, registerInspect, registerRestore,
		registerCompletion, registerManual,
	} {
		name, command := register(app, &c)
		commands[name] = command
	}
	// main runs the relay and the router itself, unless flags come before the word.
	relay := app.Command("relay", "Follow a server, or another relay, and serve the same MetricsService to many local readers. See relay --help.")
	commands[relay.FullCommand()] = func(context.Context, environment) error {
		return usage.Errorf("relay has to be the first word, before its flags")
	}
	router := app.Command("router", "Answer every call for several groups of servers, as one service. See router --help.")
	commands[router.FullCommand()] = func(context.Context, environment) error {
		return usage.Errorf("router has to be the first word, before its flags")
	}
	if len(args) == 0 {
		app.UsageWriter(env.stderr).Usage(args)
		return ExitUsage
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	name, err := app.Parse(args)
	if err != nil {
		return report(env, usage.Errorf("%w", err))
	}
	c.warnOfExposed(env)
	return report(env, commands[name](ctx, env))
}

// clause is a command, or whatever else flags are registered on.
type clause interface {
	Flag(name, help string) *kingpin.FlagClause
}

// option registers a flag with its environment variable.
func option(c clause, name, help string) *kingpin.FlagClause {
	return c.Flag(name, help).Envar(variable(name))
}

// options are flags with their environment variables.
type options struct{ clause }

// Flag registers one.
func (o options) Flag(name, help string) *kingpin.FlagClause { return option(o.clause, name, help) }

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "PROMGRPC_CLIENT_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// given holds the flags on the command line, as opposed to the environment's, which
// may not be meant for this command.
type given map[string]bool

func (g given) note(parsed *kingpin.ParseContext) error {
	for _, element := range parsed.Elements {
		if flag, ok := element.Clause.(*kingpin.FlagClause); ok {
			g[flag.Model().Name] = true
		}
	}
	return nil
}
