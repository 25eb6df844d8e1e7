package load

import (
	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// encoder encodes requests of either version with Prometheus' own code.
type encoder struct {
	one        prompb.WriteRequest
	two        writev2.Request
	symbols    writev2.SymbolsTable
	compressed []byte
	raw        int64
}

func (e *encoder) add(version int, series Series, at int64) {
	if version == 1 {
		e.one.Timeseries = append(e.one.Timeseries, first(series, at))
	} else {
		e.two.Timeseries = append(e.two.Timeseries, e.second(series, at))
	}
}

// first is a series in remote write 1.0.
func first(series Series, at int64) prompb.TimeSeries {
	s := prompb.TimeSeries{Labels: series.Labels}
	if series.Histogram != nil {
		s.Histograms = []prompb.Histogram{prompb.FromIntHistogram(at, series.Histogram)}
	} else {
		s.Samples = []prompb.Sample{{Value: series.Value, Timestamp: at}}
	}
	return s
}

// second is a series in remote write 2.0.
func (e *encoder) second(series Series, at int64) writev2.TimeSeries {
	s := writev2.TimeSeries{
		LabelsRefs: make([]uint32, 0, 2*len(series.Labels)),
		Metadata:   writev2.Metadata{Type: series.Type, HelpRef: e.symbols.Symbolize(series.Help)},
	}
	if series.Histogram != nil {
		s.Histograms = []writev2.Histogram{writev2.FromIntHistogram(0, at, series.Histogram)}
	} else {
		s.Samples = []writev2.Sample{{Value: series.Value, Timestamp: at}}
	}
	for _, l := range series.Labels {
		s.LabelsRefs = append(s.LabelsRefs, e.symbols.Symbolize(l.Name), e.symbols.Symbolize(l.Value))
	}
	return s
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
