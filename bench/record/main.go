// Command record makes the recording that the profile "recorded" plays: it runs
// exporters under some load, has a real Prometheus scrape them, and keeps what that writes.
// See bench/README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/promgrpc/exporter/bench/subject"
)

func main() {
	o := subject.Options{}
	rounds := flag.Int("rounds", 45, "samples of each series to keep")
	out := flag.String("out", "bench/load/recording.zst", "file to write")
	flag.StringVar(&o.Bin, "bin", "bin", "folder of the project's binaries")
	flag.StringVar(&o.Tools, "tools", ".tools", "folder of the exporters")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := record(ctx, logger, o, *rounds, *out); err != nil {
		logger.Error("no recording", "error", err)
		stop()
		os.Exit(1)
	}
}

func record(ctx context.Context, logger *slog.Logger, o subject.Options, rounds int, out string) (err error) {
	for _, folder := range []*string{&o.Bin, &o.Tools} {
		// Absolute, since each process has its own working directory.
		if *folder, err = filepath.Abs(*folder); err != nil {
			return err
		}
	}
	t := newTape()
	receiver := httptest.NewServer(http.HandlerFunc(t.receive))
	defer receiver.Close()
	s, err := subject.Exporters(receiver.URL).Start(ctx, o)
	if err != nil {
		return err
	}
	defer s.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go visit(ctx, s.Balancer)
	if err := warm(ctx); err != nil {
		return err
	}
	t.clear()
	for t.rounds() < rounds {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	request, left := t.request(rounds)
	if err := refuseNames(request); err != nil {
		return err
	}
	compressed, err := pack(request)
	if err != nil {
		return err
	}
	logger.Info("recorded", "series", len(request.Timeseries), "left_out", left, "bytes", len(compressed))
	return os.WriteFile(out, compressed, 0o600)
}

// warm waits for exporters to have the series that they have under load.
func warm(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("while exporters warm up: %w", ctx.Err())
	case <-time.After(20 * time.Second):
		return nil
	}
}
