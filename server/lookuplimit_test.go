package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
	"github.com/promgrpc/exporter/internal/segment"
)

// clientsTake is the largest message that clients of gRPC take by default.
const clientsTake = 4 << 20

// An answer has the first entries, as many as clients of gRPC accept.
func TestAnswersThatAreCutOff(t *testing.T) {
	const each, n = 16 << 10, 2 * clientsTake / (16 << 10)
	src := newSource(t)
	var points []point
	var metadata []segment.Metadata
	var values []string
	for i := range n {
		value := fmt.Sprintf("%05d", i) + strings.Repeat("x", each)
		values = append(values, value)
		points = append(points, point{series: `m{much="` + value + `"}`, t: now(), v: 1})
		metadata = append(metadata, segment.Metadata{Family: fmt.Sprintf("%05d", i), Help: value})
	}
	block := src.block(points...)
	block.Metadata = metadata
	src.append(block)
	c := testConfig(t)
	s := startFed(t, c, src)
	conn, err := grpc.NewClient(s.RPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	res, err := metricsv1grpc.NewMetricsServiceClient(conn).GetLabelValues(t.Context(), &metricsv1.GetLabelValuesRequest{Name: "much"})
	require.NoError(t, err, "with gRPC's own limits")
	some := len(res.GetValues())
	for name, o := range unary {
		t.Run(name, func(t *testing.T) {
			client := connectClient(t, s.RPCAddr().String(), true, o...)
			got, err := client.GetLabelValues(t.Context(), connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "much", Limit: 100000}))
			require.NoError(t, err)
			require.True(t, got.Msg.GetTruncated())
			require.Equal(t, values[:some], got.Msg.GetValues())
			require.Greater(t, proto.Size(got.Msg), clientsTake/2)
			require.Less(t, proto.Size(got.Msg), clientsTake)
			families, err := client.GetMetadata(t.Context(), connect.NewRequest(&metricsv1.GetMetadataRequest{Limit: 100000}))
			require.NoError(t, err)
			require.True(t, families.Msg.GetTruncated())
			require.Greater(t, proto.Size(families.Msg), clientsTake/2)
			require.Less(t, proto.Size(families.Msg), clientsTake)
			for i, m := range families.Msg.GetMetadata() {
				require.Equal(t, values[i], m.GetHelp())
			}
		})
	}
}

// Only some lookups are worked on at a time. The others wait, hold little, and release
// it when their callers leave.
func TestLookupsTakeTurns(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	c := testConfig(t)
	s := startFed(t, c, src)
	for name, o := range unary {
		t.Run(name, func(t *testing.T) {
			release, err := s.TakeTurns(t.Context())
			require.NoError(t, err)
			defer release()
			client := connectClient(t, s.RPCAddr().String(), true, o...)
			call := func(ctx context.Context) chan error {
				ended := make(chan error, 1)
				go func() {
					_, err := client.GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
					ended <- err
				}()
				return ended
			}
			held := func() float64 { return s.metric(t, "promgrpc_server_call_bytes") }
			waiting := func(n int) {
				require.Eventually(t, func() bool { return s.LookupsWaiting() == n }, patience, time.Millisecond)
			}
			one := call(t.Context())
			waiting(1)
			least := held()
			ctx, cancel := context.WithCancel(t.Context())
			given := call(ctx)
			waiting(2)
			require.Greater(t, held(), least)
			cancel()
			require.Error(t, <-given)
			require.Eventually(t, func() bool { return held() == least }, patience, time.Millisecond)
			require.Less(t, least, float64(c.CallBytes)/100)
			release()
			require.NoError(t, <-one)
			require.Eventually(t, func() bool { return held() == 0 }, patience, time.Millisecond)
		})
	}
}
