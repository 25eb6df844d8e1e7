package read

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

func TestStepOf(t *testing.T) {
	at := time.UnixMilli(1700000000123)
	for name, test := range map[string]struct {
		response *queryv1.QueryResponse
		want     Step
	}{
		"a part": {&queryv1.QueryResponse{Timeseries: make([]*metricsv1.TimeSeries, 2)}, Step{Series: 2}},
		"whole":  {&queryv1.QueryResponse{Timeseries: make([]*metricsv1.TimeSeries, 1), Evaluated: timestamppb.New(at)}, Step{At: at, Series: 1}},
		"synced": {&queryv1.QueryResponse{Evaluated: timestamppb.New(at), Event: &queryv1.QueryResponse_Synced{Synced: &metricsv1.Synced{}}}, Step{Synced: true}},
		"a heartbeat": {
			&queryv1.QueryResponse{Evaluated: timestamppb.New(at), Event: &queryv1.QueryResponse_Heartbeat{Heartbeat: &metricsv1.Heartbeat{}}}, Step{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			message, err := proto.Marshal(test.response)
			require.NoError(t, err)
			step, err := StepOf(message)
			require.NoError(t, err)
			require.Equal(t, test.want, step)
		})
	}
	_, err := StepOf([]byte{0xff})
	require.Error(t, err)
}

func TestHTTP(t *testing.T) {
	var asked *http.Request
	answer := `{"status":"success","data":{"resultType":"matrix","result":[{},{}]}}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(s.Close)
	api := HTTP{Base: s.URL, Client: s.Client()}

	r, err := api.Range(t.Context(), "up", time.UnixMilli(1500), time.UnixMilli(3000), 15*time.Second)
	require.NoError(t, err)
	require.Equal(t, 2, r.Series)
	require.Equal(t, "/api/v1/query_range", asked.URL.Path)
	require.Equal(t, "1.500", asked.FormValue("start"))
	require.Equal(t, "3.000", asked.FormValue("end"))
	require.Equal(t, "15.000", asked.FormValue("step"))

	answer = `{"status":"error"}`
	_, err = api.Instant(t.Context(), "up", time.UnixMilli(1500))
	require.Error(t, err)
	require.Equal(t, "1.500", asked.FormValue("time"))
}
