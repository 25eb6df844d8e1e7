package stream

import "github.com/prometheus/client_golang/prometheus"

// metrics are counted as things happen in streams.
type metrics struct {
	begun, ended                      *prometheus.CounterVec
	samplesSent, bytesSent, coalesced prometheus.Counter
	gaps, repeats, leftOut            prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "promgrpc_server_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "promgrpc_server_" + name, Help: help}, []string{label})
	}
	return &metrics{
		begun:       vec("streams_begun_total", "Streams started, by where: latest, since, or cursor for those that resumed; logs and health for other kinds.", "start"),
		ended:       vec("streams_ended_total", "Streams ended, by why.", "reason"),
		samplesSent: counter("samples_sent_total", "Float and histogram samples sent to clients."),
		bytesSent:   counter("sent_bytes_total", "Bytes of responses sent to clients, before compression."),
		coalesced:   counter("samples_coalesced_total", "Samples that min_interval left out."),
		gaps:        counter("stream_gaps_total", "Gaps that streams were told of."),
		repeats:     counter("stream_repeats_total", "Blocks that streams left out since another log had brought the same request."),
		leftOut:     counter("stream_left_out_total", "Label sets, histograms and exemplars that streams left out since they are larger than a response may be."),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.begun, m.ended, m.samplesSent, m.bytesSent, m.coalesced, m.gaps, m.repeats, m.leftOut}
}
