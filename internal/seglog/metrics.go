package seglog

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/register"
)

type metrics struct {
	appends, bytes, writeErrors       prometheus.Counter
	rotations, deletes, torn, damaged prometheus.Counter
	lost                              prometheus.Counter
	syncSeconds                       prometheus.Histogram
	segments, size                    prometheus.Gauge
}

// newMetrics registers the metrics promgrpc_log_*, which the stores of one process share
// unless the registerer tells them apart.
func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return register.Shared(r, prometheus.NewCounter(prometheus.CounterOpts{Name: "promgrpc_log_" + name, Help: help}))
	}
	gauge := func(name, help string) prometheus.Gauge {
		return register.Shared(r, prometheus.NewGauge(prometheus.GaugeOpts{Name: "promgrpc_log_" + name, Help: help}))
	}
	return &metrics{
		appends:     counter("appends_total", "Blocks appended to logs."),
		bytes:       counter("append_bytes_total", "Bytes appended to logs, keyframes included."),
		writeErrors: counter("write_errors_total", "Failed writes and syncs, each of which broke a log until it was opened again."),
		rotations:   counter("rotations_total", "Segments started."),
		deletes:     counter("retention_deletes_total", "Segments deleted by retention."),
		lost:        counter("retention_lost_total", "Segments deleted by retention before they were in the bucket, since the disk held more than twice --storage.retention.size."),
		torn:        counter("torn_bytes_total", "Bytes of torn tails cut when logs were opened."),
		damaged:     counter("damaged_segments_total", "Segments found to be damaged."),
		segments:    gauge("segments", "Segments on disk."),
		size:        gauge("size_bytes", "Bytes of the segments on disk."),
		syncSeconds: register.Shared(r, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "promgrpc_log_sync_duration_seconds",
			Help:    "Time to force appended blocks to the disk.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		})),
	}
}
