package server

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics that are counted as things happen. What can be looked up when asked
// for is in [collector].
type metrics struct {
	streamsBegun, streamsEnded        *prometheus.CounterVec
	samplesSent, bytesSent, coalesced prometheus.Counter
	gaps, gapEvents                   prometheus.Counter
	repeats, leftOut                  prometheus.Counter
	overLimit                         *prometheus.CounterVec
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "promgrpc_server_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "promgrpc_server_" + name, Help: help}, []string{label})
	}
	return &metrics{
		streamsBegun: vec("streams_begun_total", "Streams begun, by where: latest, since, or cursor for those that were taken up again; logs and health for those of other kinds.", "start"),
		streamsEnded: vec("streams_ended_total", "Streams ended, by why.", "reason"),
		samplesSent:  counter("samples_sent_total", "Float and histogram samples sent to clients."),
		bytesSent:    counter("sent_bytes_total", "Bytes of responses sent to clients, before compression."),
		coalesced:    counter("samples_coalesced_total", "Samples that min_interval left out."),
		gaps:         counter("gaps_total", "Gaps in what forwarders sent: blocks that this replica will never have."),
		gapEvents:    counter("stream_gaps_total", "Gaps that streams were told of."),
		repeats:      counter("stream_repeats_total", "Blocks that streams left out since another log had brought the same request."),
		leftOut:      counter("stream_left_out_total", "Label sets, histograms and exemplars that streams left out since they are larger than a response may be."),
		overLimit:    vec("over_limit_total", "Calls and streams refused, and connections closed, because of a limit, by the name of its flag without --limit.", "limit"),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.streamsBegun, m.streamsEnded, m.samplesSent, m.bytesSent, m.coalesced, m.gaps, m.gapEvents, m.repeats, m.leftOut, m.overLimit,
	}
}

var (
	streamsDesc            = prometheus.NewDesc("promgrpc_server_streams", "Streams that are open.", nil, nil)
	connsDesc              = prometheus.NewDesc("promgrpc_server_connections", "Connections to the RPC port that are open.", nil, nil)
	stateDesc              = prometheus.NewDesc("promgrpc_server_stream_state_bytes", "Bytes of --limit.stream-bytes that are held.", nil, nil)
	callsDesc              = prometheus.NewDesc("promgrpc_server_call_bytes", "Bytes of --limit.call-bytes that calls under way hold.", nil, nil)
	readyDesc              = prometheus.NewDesc("promgrpc_server_ready", "1 if calls are served.", nil, nil)
	seriesDesc             = prometheus.NewDesc("promgrpc_server_series", "Series in the head, stale ones included.", []string{"log_id"}, nil)
	lagDesc                = prometheus.NewDesc("promgrpc_server_lag_blocks", "Blocks that the replica is behind its forwarder.", []string{"log_id"}, nil)
	lastDesc               = prometheus.NewDesc("promgrpc_server_last_sequence", "Last block that the replica has.", []string{"log_id"}, nil)
	connectedDesc          = prometheus.NewDesc("promgrpc_server_forwarder_connected", "1 while the log's forwarder is connected.", []string{"log_id"}, nil)
	evaluationsDesc        = prometheus.NewDesc("promgrpc_server_evaluations", "Evaluations of selectors that run.", nil, nil)
	evaluationsWaitingDesc = prometheus.NewDesc("promgrpc_server_evaluations_waiting", "Evaluations of selectors that wait for their turns.", nil, nil)
)

// collector shows the metrics of a server.
type collector struct{ s *Server }

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{streamsDesc, stateDesc, connsDesc, callsDesc, evaluationsDesc, evaluationsWaitingDesc, readyDesc, seriesDesc, lagDesc, lastDesc, connectedDesc} {
		ch <- d
	}
	for _, m := range c.s.metrics.all() {
		m.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(streamsDesc, float64(c.s.streams.open()))
	gauge(connsDesc, float64(c.s.conns.Used()))
	gauge(stateDesc, float64(c.s.streamBytes.Used()))
	gauge(callsDesc, float64(c.s.calls.Used()))
	gauge(evaluationsDesc, float64(c.s.evaluations.turns.Used()))
	gauge(evaluationsWaitingDesc, float64(c.s.evaluations.turns.Waiting()))
	gauge(readyDesc, one(c.s.Ready() == nil))
	for _, r := range c.s.replicas.all() {
		id := r.id.String()
		gauge(seriesDesc, float64(r.head.Len()), id)
		gauge(lagDesc, float64(r.lag()), id)
		gauge(lastDesc, float64(r.log.Last()), id)
		gauge(connectedDesc, one(r.feed.connected()), id)
	}
	for _, m := range c.s.metrics.all() {
		m.Collect(ch)
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
