package history

import "github.com/prometheus/client_golang/prometheus"

// FlagBytes limits what the parts take on disk.
const FlagBytes = "--query.index-bytes"

type metrics struct {
	written, unwritten, evicted, damaged prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Store) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "promgrpc_history_" + name, Help: help})
		if reg != nil {
			reg.MustRegister(c)
		}
		return c
	}
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "promgrpc_history_bytes", Help: "Bytes on disk of the index of segments by series.",
		}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(s.bytes)
		}))
	}
	return &metrics{
		written:   counter("parts_written_total", "Parts of the index that were written to the disk."),
		unwritten: counter("parts_unwritten_total", "Parts of the index for which there was no room on the disk."),
		evicted:   counter("evictions_total", "Segments whose index was removed to make room for others'."),
		damaged:   counter("damaged_total", "Segments whose index was removed because it was damaged."),
	}
}
