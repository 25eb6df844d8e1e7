package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"
)

// written is a request with series of one target, by name, that have a sample each.
func written(at int64, values map[string]float64, histograms map[string]writev2.Histogram) *writev2.Request {
	symbols := writev2.NewSymbolTable()
	r := &writev2.Request{}
	add := func(name string, s writev2.TimeSeries) {
		for _, text := range []string{"__name__", name, "instance", "a:1", "job", "a"} {
			s.LabelsRefs = append(s.LabelsRefs, symbols.Symbolize(text))
		}
		s.Metadata.HelpRef = symbols.Symbolize("Help of " + name)
		r.Timeseries = append(r.Timeseries, s)
	}
	for name, value := range values {
		add(name, writev2.TimeSeries{Samples: []writev2.Sample{{Timestamp: at, Value: value}}})
	}
	for name, h := range histograms {
		h.Timestamp = at
		add(name, writev2.TimeSeries{Histograms: []writev2.Histogram{h}})
	}
	r.Symbols = symbols.Symbols()
	return r
}

func TestRecordingHasWholeSeriesAlone(t *testing.T) {
	tape := newTape()
	tape.add(written(1, map[string]float64{"up": 1, "early": 7}, nil))
	tape.clear()
	require.Zero(t, tape.rounds())
	tape.add(written(10, map[string]float64{"up": 1, "whole": 5}, map[string]writev2.Histogram{"native": {Schema: 3}, "wider": {Schema: 3}}))
	tape.add(written(20, map[string]float64{"up": 1, "whole": 6, "late": 1}, map[string]writev2.Histogram{"native": {Schema: 3}, "wider": {Schema: 2}}))
	require.Equal(t, 2, tape.rounds())
	tape.add(written(30, map[string]float64{"up": 1, "whole": 7, "late": 1}, nil))

	request, left := tape.request(2)
	require.Equal(t, 2, left, "late and wider")
	var names []string
	for _, s := range request.Timeseries {
		names = append(names, request.Symbols[s.LabelsRefs[1]])
		require.Equal(t, "Help of "+names[len(names)-1], request.Symbols[s.Metadata.HelpRef])
	}
	require.Equal(t, []string{"native", "up", "whole"}, names)
	require.Equal(t, []writev2.Histogram{{Schema: 3}, {Schema: 3}}, request.Timeseries[0].Histograms)
	require.Equal(t, []writev2.Sample{{Value: 5}, {Value: 6}}, request.Timeseries[2].Samples)
}

func TestReceive(t *testing.T) {
	tape := newTape()
	raw, err := written(10, map[string]float64{"up": 1}, nil).Marshal()
	require.NoError(t, err)
	for body, status := range map[string]int{
		string(snappy.Encode(nil, raw)):          http.StatusNoContent,
		string(raw):                              http.StatusBadRequest,
		string(snappy.Encode(nil, []byte("no"))): http.StatusBadRequest,
	} {
		w := httptest.NewRecorder()
		tape.receive(w, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader([]byte(body))))
		require.Equal(t, status, w.Code, w.Body)
	}
	require.Equal(t, 1, tape.rounds())
}

func TestPackedIsWhatWas(t *testing.T) {
	request := written(0, map[string]float64{"up": 1}, nil)
	packed, err := pack(request)
	require.NoError(t, err)
	decoder, err := zstd.NewReader(nil)
	require.NoError(t, err)
	defer decoder.Close()
	raw, err := decoder.DecodeAll(packed, nil)
	require.NoError(t, err)
	var unpacked writev2.Request
	require.NoError(t, unpacked.Unmarshal(raw))
	require.Equal(t, *request, unpacked)
}

func TestARecordingDoesNotNameTheMachine(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	require.NoError(t, refuseNames(&writev2.Request{Symbols: []string{"", "up", "127.0.0.1:9090"}}))
	require.ErrorContains(t, refuseNames(&writev2.Request{Symbols: []string{"", "worker-" + host}}), host)
	require.ErrorContains(t, refuseNames(&writev2.Request{Symbols: []string{"/tmp/bench-1"}}), `"/tmp/bench-1"`)
}
