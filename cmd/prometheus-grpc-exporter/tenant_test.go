package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// Who may write to the exporter writes as their tenant, which who may read finds. Its own
// metrics are of nobody's.
func TestTenants(t *testing.T) {
	dir := t.TempDir()
	const policies = `policies:
- {name: a, token_files: [a], write: {tenant: a}}
- {name: gateway, token_files: [gateway], write: {}}
- {name: reader, token_files: [reader], read: {}}
`
	for name, text := range map[string]string{"access.yml": policies, "a": "token-a", "gateway": "token-gateway", "reader": "token-reader"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	c := defaultConfig()
	c.StoragePath, c.access, c.TenantLabel = filepath.Join(dir, "data"), filepath.Join(dir, "access.yml"), "team"
	c.receiverAddress, c.rpcAddresses = "127.0.0.1:0", []string{"127.0.0.1:0"}
	e := startExporter(t, c)
	require.Eventually(t, func() bool { return e.receiver.Ready() == nil }, time.Minute, 10*time.Millisecond)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: "written"}, {Name: "team", Value: "claimed"}},
		Samples: []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
	}}}).Marshal()
	require.NoError(t, err)
	for _, write := range []struct {
		token, tenant string
		status        int
	}{
		{"token-a", "", http.StatusNoContent}, {"token-a", "b", http.StatusForbidden}, {"token-gateway", "b", http.StatusNoContent},
		{"token-reader", "", http.StatusForbidden}, {"", "", http.StatusUnauthorized},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+e.receiver.WebAddr().String()+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, body)))
		require.NoError(t, err)
		if write.token != "" {
			r.Header.Set("Authorization", "Bearer "+write.token)
		}
		if write.tenant != "" {
			r.Header.Set("X-Scope-OrgID", write.tenant)
		}
		answer, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, write.status, answer.StatusCode, write)
	}

	reader := metricsv1connect.NewMetricsServiceClient(client, "http://"+e.servers[0].RPCAddr().String())
	values := func(label string) []string {
		request := connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: label})
		request.Header().Set("Authorization", "Bearer token-reader")
		answer, err := reader.GetLabelValues(t.Context(), request)
		if err != nil {
			return []string{err.Error()}
		}
		return answer.Msg.GetValues()
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, []string{"a", "b"}, values("team"))
		assert.Contains(c, values("__name__"), "up")
	}, time.Minute, 20*time.Millisecond)
}
