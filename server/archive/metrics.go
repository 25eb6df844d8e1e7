package archive

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// metrics are what is counted.
type metrics struct {
	requests   *prometheus.CounterVec
	uploaded   prometheus.Counter
	downloaded prometheus.Counter
	segments   prometheus.Counter
	expired    prometheus.Counter
	damaged    prometheus.Counter
	diverged   prometheus.Counter
	foreign    prometheus.Gauge
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "promgrpc_bucket_" + name, Help: help})
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_bucket_requests_total",
			Help: "Requests to the bucket, attempts that the library repeats not counted.",
		}, []string{"request"}),
		uploaded:   counter("uploaded_bytes_total", "Bytes of objects that this server created."),
		downloaded: counter("downloaded_bytes_total", "Bytes that were read from the bucket."),
		segments:   counter("uploaded_segments_total", "Sealed segments that this server created."),
		expired:    counter("expired_segments_total", "Segments that this server deleted by the bucket's retention."),
		damaged:    counter("damaged_segments_total", "Segments on the disk that are damaged, and were not uploaded."),
		diverged:   counter("diverged_logs_total", "Logs of which the bucket has other bytes than this server, which uploads nothing more of them."),
		foreign:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "promgrpc_bucket_foreign_objects", Help: "Objects under the prefix whose names are not ours."}),
	}
	for _, request := range []string{"list", "stat", "get", "create", "delete"} {
		m.requests.WithLabelValues(request)
	}
	return m
}

var (
	upDesc       = prometheus.NewDesc("promgrpc_bucket_up", "1 if the last request to the bucket was answered.", nil, nil)
	successDesc  = prometheus.NewDesc("promgrpc_bucket_success_timestamp_seconds", "When the bucket last answered. 0: not yet.", nil, nil)
	pendingDesc  = prometheus.NewDesc("promgrpc_bucket_pending_bytes", "Bytes of logs on the disk that are not in the bucket yet.", nil, nil)
	bytesDesc    = prometheus.NewDesc("promgrpc_bucket_bytes", "Bytes of all segments in the bucket, as far as is known.", nil, nil)
	cacheDesc    = prometheus.NewDesc("promgrpc_bucket_cache_bytes", "Bytes of --limit.bucket-bytes that are held.", nil, nil)
	archivedDesc = prometheus.NewDesc("promgrpc_bucket_archived_sequence", "Last block of a log that is in the bucket, and all before it that the disk has.", []string{"log_id"}, nil)
)

// Describe implements [prometheus.Collector].
func (a *Archive) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{upDesc, successDesc, pendingDesc, bytesDesc, cacheDesc, archivedDesc} {
		ch <- d
	}
	for _, c := range a.counted() {
		c.Describe(ch)
	}
}

func (a *Archive) counted() []prometheus.Collector {
	m := a.metrics
	return []prometheus.Collector{m.requests, m.uploaded, m.downloaded, m.segments, m.expired, m.damaged, m.diverged, m.foreign}
}

// Collect implements [prometheus.Collector].
func (a *Archive) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	success, err := a.health.state()
	up, at := 0.0, 0.0
	if !success.IsZero() {
		at = float64(success.UnixMilli()) / 1000
		if err == nil {
			up = 1
		}
	}
	gauge(upDesc, up)
	gauge(successDesc, at)
	gauge(pendingDesc, float64(a.pending()))
	gauge(bytesDesc, float64(a.catalogue.bytes()))
	gauge(cacheDesc, float64(a.reader.cache.bytes()))
	for _, r := range a.replicas.All() {
		gauge(archivedDesc, float64(r.Archived()), r.ID.String())
	}
	for _, c := range a.counted() {
		c.Collect(ch)
	}
}

// pending is how many bytes on the disk are not in the bucket yet.
func (a *Archive) pending() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var n int64
	for _, u := range a.uploader {
		u.mu.Lock()
		n += u.pending
		u.mu.Unlock()
	}
	return n
}

// bytes of all that is in the bucket.
func (c *catalogue) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var n int64
	for _, segments := range c.logs {
		for _, e := range segments {
			n += e.size()
		}
	}
	return n
}

// Status is how the server gets on with its bucket.
func (a *Archive) Status() *metricsv1.BucketStatus {
	status := &metricsv1.BucketStatus{Url: a.bucket.String(), PendingBytes: a.pending(), SizeBytes: a.catalogue.bytes()}
	success, err := a.health.state()
	if err != nil {
		status.Error = err.Error()
	}
	if !success.IsZero() {
		status.SuccessTime = timestamppb.New(success.Truncate(time.Millisecond))
	}
	return status
}
