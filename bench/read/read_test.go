package read

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func serve(t *testing.T, answer func(w http.ResponseWriter)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
	t.Cleanup(s.Close)
	return s.URL
}

func TestFederate(t *testing.T) {
	const families, each = 700, 30
	url := serve(t, func(w http.ResponseWriter) {
		for f := range families {
			fmt.Fprintf(w, "# TYPE metric_%d untyped\n", f)
			for i := range each {
				fmt.Fprintf(w, "metric_%d{instance=\"10.0.0.%d:9090\",pod=%q} 1 1700000000000\n", f, i, strings.Repeat("p", i))
			}
		}
	})
	r, err := Federate(t.Context(), url)
	require.NoError(t, err)
	require.Equal(t, families*each, r.Series)
	require.Greater(t, r.Bytes, int64(1<<20))
}

func TestRemoteRead(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter) {
		for range 3 {
			data, err := (&prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{}, {}}}).Marshal()
			if err != nil {
				panic(err)
			}
			frame := binary.AppendUvarint(nil, uint64(len(data)))
			frame = append(frame, 0, 0, 0, 0) // a checksum, which is not looked at
			_, _ = w.Write(append(frame, data...))
		}
	})
	r, err := RemoteRead(t.Context(), url, time.Now())
	require.NoError(t, err)
	require.Equal(t, 6, r.Series)
}

func TestExportNative(t *testing.T) {
	body := make([]byte, 16)
	for i := range 5 {
		for range 2 {
			body = binary.BigEndian.AppendUint32(body, uint32(i*100))
			body = append(body, make([]byte, i*100)...)
		}
	}
	for _, cut := range []int{0, 1} {
		url := serve(t, func(w http.ResponseWriter) { _, _ = w.Write(body[:len(body)-cut]) })
		r, err := ExportNative(t.Context(), url, time.Now())
		if cut > 0 {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 5, r.Series)
		require.EqualValues(t, len(body), r.Bytes)
	}
}

func TestResponses(t *testing.T) {
	response := &metricsv1.GetMetricsResponse{Cursor: "c", Timeseries: []*metricsv1.TimeSeries{
		{Labels: []*metricsv1.Label{{Name: "a", Value: "b"}}, Samples: []*metricsv1.Sample{{Value: 1, Timestamp: 7}, {Timestamp: 8}}},
		{Samples: []*metricsv1.Sample{{Value: 2, Timestamp: 9}}},
	}}
	data, err := proto.Marshal(response)
	require.NoError(t, err)
	series, samples, err := Count(data)
	require.NoError(t, err)
	require.Equal(t, []int{2, 3}, []int{series, samples})
	var at []int64
	EachTimestamp(data, func(t int64) { at = append(at, t) })
	require.Equal(t, []int64{7, 8, 9}, at)
	require.False(t, Synced(data))
	_, _, err = Count(data[:len(data)-1])
	require.Error(t, err)

	data, err = proto.Marshal(&metricsv1.GetMetricsResponse{Event: &metricsv1.GetMetricsResponse_Synced{Synced: &metricsv1.Synced{}}})
	require.NoError(t, err)
	require.True(t, Synced(data))
}
