package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
)

// inventor is an upstream that begins logs without end, none of which it goes on with.
type inventor struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	calls chan int // how many logs a call has named
}

// ReadLogs implements [metricsv1connect.MetricsServiceHandler].
func (i *inventor) ReadLogs(ctx context.Context, _ *connect.Request[metricsv1.ReadLogsRequest], out *connect.ServerStream[metricsv1.ReadLogsResponse]) error {
	named := 0
	defer func() { i.calls <- named }()
	for ; named < 100*cursor.MaxLogs; named++ {
		err := out.Send(&metricsv1.ReadLogsResponse{LogId: segment.NewLogID().String(), Event: &metricsv1.ReadLogsResponse_Segment{
			Segment: &metricsv1.SegmentStart{Name: fmt.Sprintf("20261128T000000.000Z-%020d.seg", 1), FirstSequence: 1},
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// An upstream that invents logs is left: a relay keeps files and memory for no more of
// them than a server has.
func TestUpstreamInventsLogs(t *testing.T) {
	rogue := &inventor{calls: make(chan int, 1000)}
	upstream := httptest.NewUnstartedServer(nil)
	mux := http.NewServeMux()
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(rogue))
	upstream.Config.Handler = mux
	upstream.Config.Protocols = new(http.Protocols)
	upstream.Config.Protocols.SetUnencryptedHTTP2(true)
	upstream.Start()
	defer upstream.Close()
	config := testConfig(t)
	config.Upstream = strings.TrimPrefix(upstream.URL, "http://")
	relay := start(t, config)
	most := 0
	for ended := false; !ended; {
		select {
		case <-rogue.calls:
			ended = true
		case <-time.After(time.Millisecond):
		}
		most = max(most, len(folders(t, config)))
	}
	require.LessOrEqual(t, most, cursor.MaxLogs)
	require.Eventually(t, func() bool { return strings.Contains(relay.log.String(), "more logs than") }, patience, time.Millisecond)
	relay.stop()
	require.Empty(t, folders(t, config))
}
