package stream

import "github.com/prometheus/client_golang/prometheus"

// metrics are counted as things happen in streams.
type metrics struct {
	samplesSent, coalesced prometheus.Counter
	gaps, repeats, leftOut prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "promgrpc_server_" + name, Help: help})
	}
	return &metrics{
		samplesSent: counter("samples_sent_total", "Float and histogram samples sent to clients."),
		coalesced:   counter("samples_coalesced_total", "Samples that min_interval left out."),
		gaps:        counter("stream_gaps_total", "Gaps that streams were told of."),
		repeats:     counter("stream_repeats_total", "Blocks that streams left out since another log had brought the same request."),
		leftOut:     counter("stream_left_out_total", "Label sets, histograms and exemplars that streams left out since they are larger than a response may be."),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.samplesSent, m.coalesced, m.gaps, m.repeats, m.leftOut}
}
