package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
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
		var log lines
		var works atomic.Bool
		w := &selfWriter{
			gatherer: prometheus.NewRegistry(), ready: func() error { return nil },
			write: func(_ context.Context, body []byte) error {
				if !works.Load() {
					return errors.New("no forwarder")
				}
				_, err := snappy.Decode(nil, body)
				return err
			},
			instance: "i", interval: time.Millisecond,
			logger: slog.New(slog.NewTextHandler(&log, nil)),
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.run(ctx) }()
		said := func(line string) func() bool { return func() bool { return log.has(line) } }
		require.Eventually(t, said("own metrics are not written"), 20*time.Second, time.Millisecond)
		if recovers {
			works.Store(true)
			require.Eventually(t, said("own metrics are written again"), 20*time.Second, time.Millisecond)
		}
		cancel()
		require.NoError(t, <-done)
		require.Equal(t, recovers, log.has("own metrics are written again"))
	}
}
