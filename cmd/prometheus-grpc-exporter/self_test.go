package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

// What ends while it fails has not recovered. What succeeds again has.
func TestSelfWriterSaysWhatIsTrue(t *testing.T) {
	for _, recovers := range []bool{false, true} {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := free.Addr().String()
		require.NoError(t, free.Close())
		var log lines
		w := &selfWriter{
			gatherer: prometheus.NewRegistry(), ready: func() error { return nil },
			url: "http://" + address, instance: "i", interval: time.Millisecond,
			logger: slog.New(slog.NewTextHandler(&log, nil)),
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.run(ctx) }()
		said := func(line string) func() bool { return func() bool { return log.has(line) } }
		require.Eventually(t, said("own metrics are not written"), 20*time.Second, time.Millisecond)
		if recovers {
			l, err := net.Listen("tcp", address)
			require.NoError(t, err)
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusNoContent)
			})}
			go func() { _ = server.Serve(l) }()
			require.Eventually(t, said("own metrics are written again"), 20*time.Second, time.Millisecond)
			require.NoError(t, server.Close())
		}
		cancel()
		require.NoError(t, <-done)
		require.Equal(t, recovers, log.has("own metrics are written again"))
	}
}
