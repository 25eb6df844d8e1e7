package daemon

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promgrpc/exporter/internal/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// program has one flag, whose value run is given.
func program(run func(ctx context.Context, env *Env, flag string) error, args ...string) (Program, *syncBuffer, *syncBuffer) {
	var stdout, stderr syncBuffer
	return Program{
		Name:   "program",
		Args:   args,
		Stdout: &stdout,
		Stderr: &stderr,
		Setup: func(app *kingpin.Application) func(context.Context, *Env) error {
			flag := app.Flag("some.flag-name", "A flag.").Default("default").String()
			return func(ctx context.Context, env *Env) error { return run(ctx, env, *flag) }
		},
	}, &stdout, &stderr
}

func TestExitCodes(t *testing.T) {
	cases := []struct {
		name           string
		args           []string
		err            error
		code           int
		stdout, stderr string
	}{
		{"clean", nil, nil, ExitOK, "", "msg=stopped"},
		{"failure", nil, errors.New("boom"), ExitFailure, "", "level=ERROR msg=stopped err=boom"},
		{"usage found late", nil, usage.Errorf("--some.flag-name is %s", "odd"), ExitUsage, "", "program: --some.flag-name is odd, try --help\n"},
		{"unknown flag", []string{"--nope"}, nil, ExitUsage, "", "program: unknown long flag '--nope', try --help\n"},
		{"argument", []string{"nope"}, nil, ExitUsage, "", "program: unexpected nope, try --help\n"},
		{"help", []string{"--help"}, nil, ExitOK, "$PROMGRPC_SOME_FLAG_NAME", ""},
		{"version", []string{"--version"}, nil, ExitOK, "program, version ", ""},
		{"level", []string{"--log.level=loud"}, nil, ExitUsage, "", "enum value must be one of debug,info,warn,error"},
		{"json", []string{"--log.format=json"}, nil, ExitOK, "", `"msg":"stopped"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, stdout, stderr := program(func(context.Context, *Env, string) error { return c.err }, c.args...)
			require.Equal(t, c.code, p.Run(context.Background()))
			require.Contains(t, stdout.String(), c.stdout)
			require.Contains(t, stderr.String(), c.stderr)
		})
	}
}

func TestHelpThatCannotBeWritten(t *testing.T) {
	for _, arg := range []string{"--help", "--version"} {
		p, _, stderr := program(func(context.Context, *Env, string) error { return nil }, arg)
		p.Stdout = failingWriter{}
		require.Equal(t, ExitFailure, p.Run(context.Background()))
		require.Equal(t, "program: disk full\n", stderr.String())
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestLogLevel(t *testing.T) {
	p, _, stderr := program(func(_ context.Context, env *Env, _ string) error {
		env.Logger.Debug("details")
		return nil
	}, "--log.level=debug")
	require.Equal(t, ExitOK, p.Run(context.Background()))
	require.Contains(t, stderr.String(), "level=DEBUG msg=details")

	p, _, stderr = program(func(context.Context, *Env, string) error { return nil }, "--log.level=error")
	require.Equal(t, ExitOK, p.Run(context.Background()))
	require.Empty(t, stderr.String())
}

func TestEnvironment(t *testing.T) {
	t.Setenv("PROMGRPC_SOME_FLAG_NAME", "from the environment")
	var got string
	run := func(_ context.Context, _ *Env, flag string) error { got = flag; return nil }
	p, _, _ := program(run)
	require.Equal(t, ExitOK, p.Run(context.Background()))
	require.Equal(t, "from the environment", got)
	p, _, _ = program(run, "--some.flag-name=from the command line")
	require.Equal(t, ExitOK, p.Run(context.Background()))
	require.Equal(t, "from the command line", got)
}

func TestEnvironmentOfCommands(t *testing.T) {
	t.Setenv("PROMGRPC_DEEP", "x")
	t.Setenv("OWN", "y")
	app := kingpin.New("program", "")
	inner := app.Command("outer", "").Command("inner", "")
	deep := inner.Flag("deep", "").String()
	own := inner.Flag("own", "").Envar("OWN").String()
	nameEnvars(app)
	_, err := app.Parse([]string{"outer", "inner"})
	require.NoError(t, err)
	require.Equal(t, "x", *deep)
	require.Equal(t, "y", *own)
}

func TestRegistry(t *testing.T) {
	p, _, _ := program(func(_ context.Context, env *Env, _ string) error {
		families, err := env.Registry.Gather()
		if err != nil {
			return err
		}
		var names []string
		for _, f := range families {
			names = append(names, f.GetName())
		}
		all := strings.Join(names, " ")
		for _, want := range []string{"go_goroutines", "process_open_fds", "promgrpc_build_info"} {
			if !strings.Contains(all, want) {
				return errors.New("no " + want)
			}
		}
		return nil
	})
	require.Equal(t, ExitOK, p.Run(context.Background()))
}

func TestSignals(t *testing.T) {
	signals := make(chan os.Signal, 2)
	release := make(chan struct{})
	draining := make(chan struct{})
	p, _, stderr := program(func(ctx context.Context, _ *Env, _ string) error {
		<-ctx.Done()
		close(draining)
		<-release
		return nil
	})
	exited := make(chan int, 1)
	p.Signals, p.Exit = signals, func(code int) { exited <- code }
	code := make(chan int, 1)
	go func() { code <- p.Run(context.Background()) }()

	signals <- syscall.SIGTERM
	<-draining
	signals <- os.Interrupt
	require.Equal(t, ExitFailure, <-exited)
	close(release)
	require.Equal(t, ExitOK, <-code)
	require.Contains(t, stderr.String(), "msg=draining signal=terminated")
	require.Contains(t, stderr.String(), `msg="killed while draining" signal=interrupt`)
}

func TestGroupStopsInOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	var g Group
	add := func(name string, err error) {
		g.Add(name, func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(10 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return err
		})
	}
	add("first", nil)
	add("second", context.Canceled)
	g.Add("broken", func(context.Context) error { return errors.New("boom") })
	add("third", errors.New("crash"))
	err := g.Run(context.Background())
	require.EqualError(t, err, "broken: boom\nthird: crash")
	require.Equal(t, []string{"first", "second", "third"}, order)
}

func TestGroupEndsWithItsContext(t *testing.T) {
	var g Group
	g.Add("one", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, g.Run(ctx))
	require.NoError(t, (&Group{}).Run(ctx))
}
