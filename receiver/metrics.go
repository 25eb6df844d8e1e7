package receiver

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/promgrpc/exporter/internal/groupsfile"
	"github.com/promgrpc/exporter/internal/limit"
)

type metrics struct {
	requests      *prometheus.CounterVec
	bytes         prometheus.Counter
	duration      prometheus.Histogram
	overLimit     *prometheus.CounterVec
	denied        *prometheus.CounterVec
	inflight      prometheus.Gauge
	inflightBytes prometheus.Gauge
	forwarderUp   *prometheus.GaugeVec
	forwarderUsed *prometheus.CounterVec
	moved         prometheus.Counter
	groupsVersion prometheus.Gauge
	groupsWrong   prometheus.GaugeFunc
	misplaced     *prometheus.CounterVec
	// file is what groupsWrong is of, nil as long as there is none.
	file atomic.Pointer[groupsfile.File]
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_receiver_requests_total",
			Help: "Remote-write requests answered, by status code and schema (1.0, 2.0, or none where it was not told).",
		}, []string{"code", "schema"}),
		bytes: f.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_receiver_request_bytes_total",
			Help: "Compressed bytes of remote-write bodies that were read whole.",
		}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:                            "promgrpc_receiver_request_duration_seconds",
			Help:                            "Time from a remote-write request's header to its answer.",
			Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: 0,
		}),
		overLimit: f.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_receiver_over_limit_total",
			Help: "Requests refused because of a limit, by the name of its flag without --limit.",
		}, []string{"limit"}),
		denied: f.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_receiver_denied_requests_total",
			Help: "Requests of senders who may not write, or not as that tenant, by the reason.",
		}, []string{"reason"}),
		inflight: f.NewGauge(prometheus.GaugeOpts{
			Name: "promgrpc_receiver_inflight_requests",
			Help: "Remote-write requests under way.",
		}),
		inflightBytes: f.NewGauge(prometheus.GaugeOpts{
			Name: "promgrpc_receiver_inflight_bytes",
			Help: "Memory that requests under way hold of --limit.inflight-bytes.",
		}),
		forwarderUp: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "promgrpc_receiver_forwarder_up",
			Help: "1 while a forwarder is connected, by its group, if there are any, and its address.",
		}, []string{"group", "forwarder"}),
		forwarderUsed: f.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_receiver_forwarder_batches_total",
			Help: "Batches sent to a forwarder, by its group, if there are any, its address, and the outcome: ok, invalid, too_large, unavailable, unconfirmed, lost, timeout, or canceled by the sender.",
		}, []string{"group", "forwarder", "outcome"}),
		moved: f.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_receiver_moved_batches_total",
			Help: "Batches that went to another forwarder than that of their sender, as that was not connected, or had failed or not been confirmed lately.",
		}),
	}
	m.groupsVersion = f.NewGauge(prometheus.GaugeOpts{
		Name: "promgrpc_receiver_groups_version",
		Help: "Version of the groups file in use, 0 without one.",
	})
	m.groupsWrong = f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "promgrpc_receiver_groups_file_wrong",
		Help: "1 while the groups file cannot be used, or may not take the place of what is in use.",
	}, func() float64 {
		if file := m.file.Load(); file != nil && file.Err() != nil {
			return 1
		}
		return 0
	})
	m.misplaced = f.NewCounterVec(prometheus.CounterOpts{
		Name: "promgrpc_receiver_misplaced_links_total",
		Help: "Links that a forwarder refused or ended because its log has another group or placement, by the group.",
	}, []string{"group"})
	for _, flag := range []string{flagRequestBytes, flagDecodedBytes, flagInflightBytes, flagBodyRate} {
		m.overLimit.WithLabelValues(limit.Name(flag))
	}
	return m
}
