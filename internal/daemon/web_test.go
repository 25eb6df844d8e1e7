package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/usage"
)

func runWeb(t *testing.T, w *Web) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, w.Close())
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r.StatusCode, string(body)
}

func TestOps(t *testing.T) {
	var log syncBuffer
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "some_total"}))
	var ready error
	w, err := NewOps(onAnyPort(""), slog.New(slog.NewTextHandler(&log, nil)), reg, func() error { return ready })
	require.NoError(t, err)
	require.Contains(t, log.String(), "msg=listening listener=web address="+w.Addr().String())
	defer runWeb(t, w)()
	url := "http://" + w.Addr().String()

	code, body := get(t, url+"/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "some_total 0")
	code, _ = get(t, url+"/-/healthy")
	require.Equal(t, http.StatusOK, code)
	code, _ = get(t, url+"/-/ready")
	require.Equal(t, http.StatusOK, code)
	ready = errors.New("nobody there")
	code, body = get(t, url+"/-/ready")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "not ready: nobody there\n", body)
	code, _ = get(t, url+"/elsewhere")
	require.Equal(t, http.StatusNotFound, code)
}

// onAnyPort is the configuration of a server with a web config file, "" for none.
func onAnyPort(config string) OpsConfig {
	c := DefaultOpsConfig()
	c.WebAddress, c.WebConfigFile = "127.0.0.1:0", config
	return c
}

func TestGathererOf(t *testing.T) {
	reg := prometheus.NewRegistry()
	require.Same(t, reg, gathererOf(reg))
	families, err := gathererOf(prometheus.WrapRegistererWithPrefix("x", reg)).Gather()
	require.NoError(t, err)
	require.Empty(t, families)
}

func TestWebDrains(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	w, err := NewWeb(WebOptions{
		OpsConfig: onAnyPort(""), Logger: slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(arrived)
			<-release
			_, _ = io.WriteString(w, "answered")
		}),
	})
	require.NoError(t, err)
	stop := runWeb(t, w)
	unused, err := net.Dial("tcp", w.Addr().String()) // Must not hold up the end.
	require.NoError(t, err)
	defer unused.Close()
	answer := make(chan string, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := client.Get("http://" + w.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		answer <- string(body)
	}()
	<-arrived
	start := time.Now()
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	stop()
	require.Equal(t, "answered", <-answer)
	require.Less(t, time.Since(start), 8*time.Second) // of the 10 that there are for it
	_, err = net.Dial("tcp", w.Addr().String())
	require.Error(t, err)
}

func TestWebBreaksOffWhatTakesTooLong(t *testing.T) {
	arrived := make(chan struct{})
	w, err := NewWeb(WebOptions{
		OpsConfig: onAnyPort(""), Logger: slog.New(slog.DiscardHandler), DrainTimeout: 50 * time.Millisecond,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-r.Context().Done()
		}),
	})
	require.NoError(t, err)
	stop := runWeb(t, w)
	failed := make(chan error, 1)
	go func() {
		r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + w.Addr().String())
		if err == nil {
			r.Body.Close()
		}
		failed <- err
	}()
	<-arrived
	stop()
	require.Error(t, <-failed)
}

func TestWebConfigFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	// The password is "secret".
	require.NoError(t, os.WriteFile(file, []byte("basic_auth_users:\n  me: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC\n"), 0o600))
	o := WebOptions{OpsConfig: onAnyPort(file), Logger: slog.New(slog.DiscardHandler), Handler: http.NotFoundHandler()}
	w, err := NewWeb(o)
	require.NoError(t, err)
	defer runWeb(t, w)()
	code, _ := get(t, "http://"+w.Addr().String())
	require.Equal(t, http.StatusUnauthorized, code)

	require.NoError(t, os.WriteFile(file, []byte("nonsense: 1\n"), 0o600))
	_, err = NewWeb(o)
	var mistake *usage.Error
	require.ErrorAs(t, err, &mistake)
	require.ErrorContains(t, err, file)
	o.WebConfigFile, o.WebAddress = "", w.Addr().String()
	_, err = NewWeb(o)
	require.ErrorContains(t, err, "address already in use")
}

func TestWebCloseBeforeRun(t *testing.T) {
	w, err := NewWeb(WebOptions{OpsConfig: onAnyPort(""), Logger: slog.New(slog.DiscardHandler), Handler: http.NotFoundHandler()})
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	require.NoError(t, w.Run(context.Background()))
}

// Connections beyond the limit of one address are closed and counted; the others
// are served.
func TestWebConnections(t *testing.T) {
	reg := prometheus.NewRegistry()
	const most = 4
	c := onAnyPort("")
	c.WebConns = most
	w, err := NewWeb(WebOptions{OpsConfig: c, Logger: slog.New(slog.DiscardHandler), Registerer: reg, Handler: http.NotFoundHandler()})
	require.NoError(t, err)
	defer runWeb(t, w)()
	for range most / 2 {
		c, err := net.Dial("tcp", w.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
		_, err = c.Read(make([]byte, 1))
		require.NoError(t, err)
	}
	over, err := net.Dial("tcp", w.Addr().String())
	require.NoError(t, err)
	defer over.Close()
	require.NoError(t, over.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, err = over.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Equal(t, "promgrpc_web_over_limit_total", families[0].GetName())
	require.Equal(t, "web-connections", families[0].GetMetric()[0].GetLabel()[0].GetValue())
	require.Equal(t, 1.0, families[0].GetMetric()[0].GetCounter().GetValue())

	c.WebConns = 0
	_, err = NewWeb(WebOptions{OpsConfig: c, Logger: slog.New(slog.DiscardHandler), Handler: http.NotFoundHandler()})
	require.ErrorContains(t, err, "--limit.web-connections")
}
