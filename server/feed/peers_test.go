package feed

import (
	"testing"

	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/exchange"
)

// A relay among the peers reads its logs for as long as it runs, from a server perhaps that
// waits for their end. No forwarder feeds them there.
func TestLogsOfPeers(t *testing.T) {
	id := segment.LogID{1}
	logs := []*metricsv1.LogStatus{{LogId: id.String(), LastSequence: 7, Connected: true}}
	for upstream, fed := range map[string]bool{"": true, "server:8443": false} {
		got, err := logsOf(&metricsv1.GetStatusResponse{Logs: logs, Upstream: upstream})
		require.NoError(t, err)
		require.Equal(t, []exchange.Log{{ID: id, Last: 7, Fed: fed}}, got)
	}
}
