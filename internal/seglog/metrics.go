package seglog

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	appends, bytes, writeErrors       prometheus.Counter
	rotations, deletes, torn, damaged prometheus.Counter
	syncSeconds                       prometheus.Histogram
	segments, size                    prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return register(r, prometheus.NewCounter(prometheus.CounterOpts{Name: "promgrpc_log_" + name, Help: help}))
	}
	gauge := func(name, help string) prometheus.Gauge {
		return register(r, prometheus.NewGauge(prometheus.GaugeOpts{Name: "promgrpc_log_" + name, Help: help}))
	}
	return &metrics{
		appends:     counter("appends_total", "Blocks appended to logs."),
		bytes:       counter("append_bytes_total", "Bytes appended to logs, keyframes included."),
		writeErrors: counter("write_errors_total", "Failed writes and syncs, each of which broke a log until it was opened again."),
		rotations:   counter("rotations_total", "Segments begun."),
		deletes:     counter("retention_deletes_total", "Segments deleted by retention."),
		torn:        counter("torn_bytes_total", "Bytes of torn tails cut when logs were opened."),
		damaged:     counter("damaged_segments_total", "Segments found to be damaged."),
		segments:    gauge("segments", "Segments on disk."),
		size:        gauge("size_bytes", "Bytes of the segments on disk."),
		syncSeconds: register(r, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "promgrpc_log_sync_duration_seconds",
			Help:    "Time to force appended blocks to the disk.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		})),
	}
}

// register registers c, or returns what is registered under its name: the
// stores of one process share their metrics unless the registerer tells them
// apart.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	var have prometheus.AlreadyRegisteredError
	if err := r.Register(c); errors.As(err, &have) {
		if old, ok := have.ExistingCollector.(C); ok {
			return old
		}
	}
	return c
}
