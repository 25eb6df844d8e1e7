package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/reflect/protoreflect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
)

func sinceStart() *metricsv1.GetMetricsRequest_Since {
	return &metricsv1.GetMetricsRequest_Since{Since: nil}
}

func TestLookups(t *testing.T) {
	begin := time.Now()
	src := newSource(t)
	at := now()
	block := src.block(
		point{series: `up{job="a",zone="1"}`, t: at, v: 1}, point{series: `up{job="b"}`, t: at, v: 1},
		point{series: `down{job="c",x="y"}`, t: at, v: staleNaN},
	)
	block.Metadata = []segment.Metadata{{Family: "up", Type: 2, Help: "Whether it is.", Unit: "1"}, {Family: "down", Type: 1}}
	src.append(block)
	s := startFed(t, testConfig(t), src)
	ctx := context.Background()
	for _, o := range [][]connect.ClientOption{nil, {connect.WithGRPCWeb()}, {connect.WithProtoJSON()}} {
		c := connectClient(t, s.RPCAddr().String(), false, o...)
		names, err := c.GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
		require.NoError(t, err)
		require.Equal(t, []string{"__name__", "job", "zone"}, names.Msg.GetNames())
		names, err = c.GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{Selectors: []string{`{job="b"}`}, Limit: 1}))
		require.NoError(t, err)
		require.Equal(t, []string{"__name__"}, names.Msg.GetNames())
		require.True(t, names.Msg.GetTruncated())

		values, err := c.GetLabelValues(ctx, connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "job"}))
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, values.Msg.GetValues())
		_, err = c.GetLabelValues(ctx, connect.NewRequest(&metricsv1.GetLabelValuesRequest{}))
		requireCode(t, connect.CodeInvalidArgument, err)

		metadata, err := c.GetMetadata(ctx, connect.NewRequest(&metricsv1.GetMetadataRequest{}))
		require.NoError(t, err)
		require.Len(t, metadata.Msg.GetMetadata(), 2)
		metadata, err = c.GetMetadata(ctx, connect.NewRequest(&metricsv1.GetMetadataRequest{MetricFamilyName: "up"}))
		require.NoError(t, err)
		require.Equal(t, "Whether it is.", metadata.Msg.GetMetadata()[0].GetHelp())

		segments, err := c.ListSegments(ctx, connect.NewRequest(&metricsv1.ListSegmentsRequest{}))
		require.NoError(t, err)
		require.Len(t, segments.Msg.GetSegments(), 1)
		require.Equal(t, uint64(1), segments.Msg.GetSegments()[0].GetLastSequence())

		status, err := c.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
		require.NoError(t, err)
		require.True(t, status.Msg.GetReady())
		up := status.Msg.GetUptime().AsDuration()
		require.Positive(t, up)
		require.LessOrEqual(t, up, time.Since(begin))
		require.Equal(t, uint64(2), status.Msg.GetLiveSeries())
		require.Equal(t, uint64(3), status.Msg.GetLogs()[0].GetSeries())
		require.True(t, status.Msg.GetLogs()[0].GetConnected())
		require.Positive(t, status.Msg.GetLogs()[0].GetSizeBytes())
		require.Empty(t, lines(all(t, s.call(t, &getRequest{Start: after(status.Msg.GetCursor())}))...))
	}
}

func TestBadRequests(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		fail := func(req *getRequest) error {
			_, err := p.open(t, context.Background(), s.RPCAddr().String(), req)()
			requireCode(t, connect.CodeInvalidArgument, err)
			return err
		}
		err := fail(&getRequest{Selectors: []string{"up", "up{job=\"größe\", zone?\"y\"}"}})
		require.ErrorContains(t, err, "selector 2 does not parse")
		require.ErrorContains(t, err, "\n  up{job=\"größe\", zone?\"y\"}\n                      ^")
		violation := detail[*errdetails.BadRequest](t, err).GetFieldViolations()[0]
		require.Equal(t, "selectors[1]", violation.GetField())
		require.NotEmpty(t, violation.GetDescription())
		invalid := detail[*metricsv1.InvalidSelector](t, err)
		require.Equal(t, uint32(1), invalid.GetIndex())
		require.Equal(t, uint32(len(`up{job="größe", zone`)), invalid.GetStart())
		require.Equal(t, uint32(len(`up{job="größe", zone?"y"}`)), invalid.GetEnd())
		for _, selector := range []string{"rate(up[5m])", "up offset 5m", "up{", "{a=~\"(\"}", "", "sum(up)", strings.Repeat("x", 16385)} {
			_ = fail(&getRequest{Selectors: []string{selector}})
		}
		_ = fail(&getRequest{MinInterval: secs(1)})
		_ = fail(&getRequest{Follow: true, HeartbeatInterval: millis(1)})
	})
}

// The error for an expression says what a selector is.
func TestExpressionsAreNoSelectors(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		for selector, hint := range map[string]bool{
			"rate(up[5m])": true, "up[5m]": true, "up offset 5m": true, "sum by (job) (up)": true, "up > 1": true, "1": true,
			"up{job=\"a\"} or up": true, "up{": false, "up{job}": false, "{a=~\"(\"}": false, "up{a=\"b\" or}": false,
		} {
			_, err := p.open(t, t.Context(), s.RPCAddr().String(), &getRequest{Selectors: []string{selector}})()
			requireCode(t, connect.CodeInvalidArgument, err)
			require.Equal(t, hint, strings.Contains(err.Error(), `such as up{job="node"}`), "%s: %v", selector, err)
		}
	})
}

// curl is the simplest client.
func TestCurl(t *testing.T) {
	src := newSource(t)
	at := now()
	src.write(point{series: "a", t: at, v: 1.5})
	s := startFed(t, testConfig(t), src)
	url := "http://" + s.RPCAddr().String() + "/"
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	post := func(path, contentType, body string) string {
		r, err := client.Post(url+path, contentType, strings.NewReader(body))
		require.NoError(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return string(b)
	}
	require.Contains(t, post("grpc.health.v1.Health/Check", "application/json", "{}"), `"SERVING"`)
	require.Contains(t, post("promgrpc.metrics.v1.MetricsService/GetLabelNames", "application/json", "{}"), "__name__")
	stream := post("promgrpc.metrics.v1.MetricsService/GetMetrics", "application/connect+json", "\x00\x00\x00\x00\x02{}")
	require.Contains(t, stream, fmt.Sprintf(`"timestamp":"%d"`, at))
}

func TestReflection(t *testing.T) {
	s := start(t, testConfig(t))
	client, stop := httpClient(true)
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream := grpcreflect.NewClient(client, "http://"+s.RPCAddr().String(), connect.WithGRPC()).NewStream(ctx)
	defer stream.Close()
	services, err := stream.ListServices()
	require.NoError(t, err)
	require.Len(t, services, 5)
	for _, service := range []protoreflect.FullName{"promgrpc.metrics.v1.MetricsService", "promgrpc.query.v1.QueryService", "thanos.Store", "thanos.info.Info"} {
		files, err := stream.FileContainingSymbol(service)
		require.NoError(t, err)
		require.NotEmpty(t, files)
	}
}

// Metadata that a keyframe leaves out is forgotten here, too.
func TestMetadataIsForgotten(t *testing.T) {
	src := newSource(t)
	block := src.block(point{series: `up{job="a"}`, t: now(), v: 1})
	block.Metadata = []segment.Metadata{{Family: "up"}, {Family: "down"}}
	src.append(block)
	s := startFed(t, testConfig(t), src)
	src.head.Expire(0, func(m segment.Metadata, live func(string) bool) bool { return live(m.Family) })
	src.rotate()
	src.write(point{series: `up{job="a"}`, t: now(), v: 2})
	s.await(t, src)
	for _, o := range [][]connect.ClientOption{nil, {connect.WithGRPCWeb()}, {connect.WithProtoJSON()}} {
		c := connectClient(t, s.RPCAddr().String(), false, o...)
		res, err := c.GetMetadata(context.Background(), connect.NewRequest(&metricsv1.GetMetadataRequest{}))
		require.NoError(t, err)
		require.Len(t, res.Msg.GetMetadata(), 1)
		require.Equal(t, "up", res.Msg.GetMetadata()[0].GetMetricFamilyName())
	}
}
