package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/promgrpc/exporter/e2e/harness"
)

var protocols = []string{"grpc", "grpcweb", "connect"}

// series makes a series with one sample, now.
func series(labels map[string]string, value float64) prompb.TimeSeries {
	s := prompb.TimeSeries{Samples: []prompb.Sample{{Value: value, Timestamp: time.Now().UnixMilli()}}}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		s.Labels = append(s.Labels, prompb.Label{Name: name, Value: labels[name]})
	}
	return s
}

// write writes series by remote write 1.0 and fails the test if they are not
// taken.
func write(t *testing.T, cluster *harness.Cluster, list ...prompb.TimeSeries) {
	t.Helper()
	body := harness.Encode(t, &prompb.WriteRequest{Timeseries: list})
	status, answer, err := harness.Write(cluster.WriteURL(), body)
	if err != nil || status != 204 || answer != "" {
		t.Fatalf("write %d series: %d %q %v", len(list), status, answer, err)
	}
}

// awaitSeries waits until every server answers with that many series.
func awaitSeries(t *testing.T, cluster *harness.Cluster, selector string, want int) {
	t.Helper()
	for i := range cluster.Servers {
		harness.Eventually(t, fmt.Sprintf("%d series of %s at server %d", want, selector, i+1), func() bool {
			return len(harness.Get(t, cluster.RPC(i), "grpc", selector).Points) == want
		})
	}
}

// awaitPoints waits until every server has all the points, and fails the test
// if one has any more, or any twice. The selector says where to look.
func awaitPoints(t *testing.T, cluster *harness.Cluster, selector string, want harness.Points) {
	t.Helper()
	for i := range cluster.Servers {
		var got harness.Points
		deadline := time.Now().Add(30 * time.Second)
		for {
			got = harness.Get(t, cluster.RPC(i), "grpc", selector, "--since=1h").Points
			if got.Missing(want) == 0 || time.Now().After(deadline) {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		harness.Equal(t, fmt.Sprintf("server %d", i+1), want, got)
	}
}
