package load

import (
	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

var help = []string{
	kindCounter:   "Connections that the client has opened since it started, by pool.",
	kindGauge:     "Bytes of the memory pool that are in use.",
	kindHistogram: "Time from the first byte of a request to the last of its answer.",
}

var types = []writev2.Metadata_MetricType{
	kindCounter:   writev2.Metadata_METRIC_TYPE_COUNTER,
	kindGauge:     writev2.Metadata_METRIC_TYPE_GAUGE,
	kindHistogram: writev2.Metadata_METRIC_TYPE_HISTOGRAM,
}

// encoder encodes requests of either version with Prometheus' own code.
type encoder struct {
	one        prompb.WriteRequest
	two        writev2.Request
	symbols    writev2.SymbolsTable
	compressed []byte
	raw        int64
}

func (e *encoder) add(version int, t *target, i int, at int64) {
	if version == 1 {
		e.one.Timeseries = append(e.one.Timeseries, prompb.TimeSeries{
			Labels: t.labels[i], Samples: []prompb.Sample{{Value: t.values[i], Timestamp: at}},
		})
		return
	}
	s := writev2.TimeSeries{
		LabelsRefs: make([]uint32, 0, 2*len(t.labels[i])), Samples: []writev2.Sample{{Value: t.values[i], Timestamp: at}},
		Metadata: writev2.Metadata{Type: types[t.kinds[i]], HelpRef: e.symbols.Symbolize(help[t.kinds[i]])},
	}
	for _, l := range t.labels[i] {
		s.LabelsRefs = append(s.LabelsRefs, e.symbols.Symbolize(l.Name), e.symbols.Symbolize(l.Value))
	}
	e.two.Timeseries = append(e.two.Timeseries, s)
}

// body returns the request of the series added, and starts the next.
func (e *encoder) body(version int) (body []byte, err error) {
	if version == 1 {
		body, err = e.one.Marshal()
	} else {
		e.two.Symbols = e.symbols.Symbols()
		body, err = e.two.Marshal()
	}
	e.one.Timeseries, e.two.Timeseries = e.one.Timeseries[:0], e.two.Timeseries[:0]
	e.symbols.Reset()
	e.raw += int64(len(body))
	e.compressed = snappy.Encode(e.compressed[:cap(e.compressed)], body)
	return append([]byte(nil), e.compressed...), err
}
