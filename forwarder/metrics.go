package forwarder

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

type metrics struct {
	batches    *prometheus.CounterVec // by code
	samples    prometheus.Counter
	histograms prometheus.Counter
	exemplars  prometheus.Counter
	rejected   prometheus.Counter
	repeats    prometheus.Counter
	repeated   prometheus.Counter
	reread     prometheus.Counter
	created    prometheus.Counter
	overLimit  *prometheus.CounterVec // by limit
	series     prometheus.Gauge
	writable   prometheus.Gauge
	reopened   prometheus.Counter
	renewed    prometheus.Counter
	doubted    prometheus.Counter
	fetched    prometheus.Counter

	ackRequired prometheus.Gauge
	ackServers  prometheus.Gauge
	ackSeconds  prometheus.Histogram

	pairs  *pairMetrics
	placed *placedMetrics

	connected *prometheus.GaugeVec // by instance
	position  *prometheus.GaugeVec
	lag       *prometheus.GaugeVec
	sent      *prometheus.CounterVec
	gaps      *prometheus.CounterVec
	diverged  *prometheus.CounterVec
}

// newMetrics registers the metrics. inflight tells how much the requests under way
// take.
func newMetrics(reg prometheus.Registerer, inflight func() int64) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "promgrpc_forwarder_inflight_bytes",
		Help: "Bytes that requests under way take of --limit.inflight-bytes.",
	}, func() float64 { return float64(inflight()) })
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "promgrpc_forwarder_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: "promgrpc_forwarder_" + name, Help: help})
	}
	gauges := func(name, help string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: "promgrpc_forwarder_replica_" + name, Help: help}, []string{"instance"})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "promgrpc_forwarder_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		batches:     counters("batches_total", "Batches by the code of their verdict.", "code"),
		samples:     counter("samples_total", "Float samples taken, exact repeats included."),
		histograms:  counter("histograms_total", "Native histograms taken, exact repeats included."),
		exemplars:   counter("exemplars_total", "Exemplars taken, exact repeats included."),
		rejected:    counter("rejected_total", "Samples, histograms and exemplars refused because something about them is invalid."),
		repeats:     counter("repeats_total", "Samples, histograms and exemplars dropped because they were the latest of their series once more."),
		repeated:    counter("repeated_batches_total", "Batches that had been answered before, and got the same verdict."),
		reread:      counter("reread_batches_total", "Batches of which it was read from the log what is stored: limits had refused the rest, and have changed since."),
		created:     counter("series_created_total", "Series seen for the first time, or again after they had been dropped."),
		overLimit:   counters("over_limit_total", "Requests, series and samples refused because of a limit, by the name of its flag without --limit.", "limit"),
		series:      gauge("series", "Series in the head."),
		writable:    gauge("log_writable", "1 while the log can be written."),
		reopened:    counter("log_reopened_total", "Times that the log was opened again after it could not be written."),
		renewed:     counter("log_renewed_total", "Times that a new log was started because blocks might be missing at the end of the one before, or a server had diverged from it."),
		doubted:     counter("claims_not_believed_total", "Times that a server claimed other blocks than the log's too soon after another, and no new log was started."),
		fetched:     counter("log_fetched_blocks_total", "Blocks of logs that have ended which this forwarder had lost and a server had."),
		ackRequired: gauge("ack_servers_required", "Servers that have to confirm a request before it is answered, by --ack.servers."),
		ackServers:  gauge("ack_servers", "Servers that are connected and confirm what is on their disks, where --ack.servers asks for that."),
		ackSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "promgrpc_forwarder_ack_seconds",
			Help:    "Time from when a request was appended until it was durable here and at --ack.servers servers. Those that were not in time are CODE_UNCONFIRMED in promgrpc_forwarder_batches_total.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		pairs:     newPairMetrics(reg),
		placed:    newPlacedMetrics(reg),
		connected: gauges("connected", "1 while the server is connected."),
		position:  gauges("position", "Sequence of the last block that the server has confirmed."),
		lag:       gauges("lag_blocks", "Blocks that the server has not confirmed."),
		sent:      counters("replica_sent_bytes_total", "Bytes of the log that were sent to the server.", "instance"),
		gaps:      counters("replica_gaps_total", "Times that the server was away for longer than the log goes back.", "instance"),
		diverged:  counters("replica_diverged_total", "Times that the server was found to have diverged from the log.", "instance"),
	}
	for code, name := range linkv1.Code_name {
		if code != int32(linkv1.Code_CODE_UNSPECIFIED) {
			m.batches.WithLabelValues(name)
		}
	}
	return m
}

// forget drops what is shown of a server that is no longer there.
func (m *metrics) forget(instance string) {
	for _, v := range []interface{ DeleteLabelValues(...string) bool }{m.connected, m.position, m.lag, m.sent, m.gaps, m.diverged} {
		v.DeleteLabelValues(instance)
	}
}
