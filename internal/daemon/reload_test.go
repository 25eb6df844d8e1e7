package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func gauge(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Fail(t, "no metric "+name)
	return 0
}

// SIGHUP reloads everything, logs each, and ends nothing.
func TestReload(t *testing.T) {
	hangups, signals := make(chan os.Signal), make(chan os.Signal)
	started := make(chan *Env, 1)
	p, _, stderr := program(func(ctx context.Context, env *Env, _ string) error {
		started <- env
		<-ctx.Done()
		return nil
	})
	p.Hangups, p.Signals = hangups, signals
	code := make(chan int, 1)
	go func() { code <- p.Run(context.Background()) }()
	env := <-started
	said := func(line string) func() bool { return func() bool { return strings.Contains(stderr.String(), line) } }
	require.Equal(t, 1.0, gauge(t, env.Registry, "promgrpc_config_last_reload_successful"))
	began := gauge(t, env.Registry, "promgrpc_config_last_reload_success_timestamp_seconds")
	require.Positive(t, began)
	hangups <- syscall.SIGHUP
	require.Eventually(t, said("nothing to reload"), 20*time.Second, time.Millisecond)

	var broken atomic.Bool
	env.OnReload(Reloads(
		Reload{What: "one", Again: func() error {
			if broken.Load() {
				return errors.New("torn")
			}
			return nil
		}},
		Reload{What: "none"},
		Reload{What: "two", Again: func() error { return nil }},
	)...)
	broken.Store(true)
	hangups <- syscall.SIGHUP
	require.Eventually(t, said("msg=reloaded what=two"), 20*time.Second, time.Millisecond)
	require.Contains(t, stderr.String(), `level=ERROR msg="not reloaded" what=one err=torn`)
	require.NotContains(t, stderr.String(), "what=none")
	require.Eventually(t, func() bool {
		return gauge(t, env.Registry, "promgrpc_config_last_reload_successful") == 0
	}, 20*time.Second, time.Millisecond)

	broken.Store(false)
	hangups <- syscall.SIGHUP
	require.Eventually(t, func() bool {
		return gauge(t, env.Registry, "promgrpc_config_last_reload_successful") == 1
	}, 20*time.Second, time.Millisecond)
	require.Greater(t, gauge(t, env.Registry, "promgrpc_config_last_reload_success_timestamp_seconds"), began)
	require.Contains(t, stderr.String(), "msg=reloaded what=one")
	require.NotContains(t, stderr.String(), "draining")
	signals <- syscall.SIGTERM
	require.Equal(t, ExitOK, <-code)
}

// The SIGHUP of a terminal that is closed drains the program that was started from it,
// and no other.
func TestTerminalIsClosed(t *testing.T) {
	for name, test := range map[string]struct {
		terminal []bool // at the start and at the signal
		drains   bool
	}{
		"closed": {[]bool{true, false}, true}, "open": {[]bool{true, true}, false}, "none": {[]bool{false, false}, false},
	} {
		t.Run(name, func(t *testing.T) {
			hangups, signals := make(chan os.Signal), make(chan os.Signal)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			p, _, stderr := program(func(ctx context.Context, _ *Env, _ string) error {
				<-ctx.Done()
				return nil
			})
			var asked atomic.Int32
			p.Hangups, p.Signals = hangups, signals
			p.Terminal = func() bool { return test.terminal[min(int(asked.Add(1)), 2)-1] }
			code := make(chan int, 1)
			go func() { code <- p.Run(ctx) }()
			hangups <- syscall.SIGHUP
			if !test.drains {
				require.Eventually(t, func() bool { return strings.Contains(stderr.String(), "nothing to reload") }, 20*time.Second, time.Millisecond)
				cancel()
			}
			require.Equal(t, ExitOK, <-code)
			require.Equal(t, test.drains, strings.Contains(stderr.String(), "the terminal was closed"))
		})
	}
}

// A web configuration is read again when it has changed. A broken one is told of by the
// log and by a reload, and what was before stays in use.
func TestWebConfigIsRenewed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	write := func(s string) { require.NoError(t, os.WriteFile(file, []byte(s), 0o600)) }
	write("{}\n")
	var log syncBuffer
	w, err := NewWeb(WebOptions{OpsConfig: onAnyPort(file), Handler: http.NotFoundHandler(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	defer runWeb(t, w)()
	ask := func() int { code, _ := get(t, "http://"+w.Addr().String()); return code }
	require.Equal(t, http.StatusNotFound, ask())
	reloads := w.Reloads()
	require.Len(t, reloads, 1)
	require.NoError(t, reloads[0].Again())
	// The password is "secret".
	const hash = "$2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC"
	write("basic_auth_users:\n  me: " + hash + "\n")
	require.Equal(t, http.StatusUnauthorized, ask())
	require.NoError(t, reloads[0].Again())

	write("nonsense: 1\n")
	require.Error(t, reloads[0].Again())
	for range 3 {
		require.Equal(t, http.StatusUnauthorized, ask())
	}
	require.Equal(t, 1, strings.Count(log.String(), "cannot be reloaded, the last value stays in use"))
	require.Contains(t, log.String(), "field nonsense not found")
	write("basic_auth_users:\n  you: " + hash + "\n")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.Addr().String(), nil)
	require.NoError(t, err)
	r.SetBasicAuth("you", "secret")
	code, _ := answered(t, r)
	require.Equal(t, http.StatusNotFound, code)
}
