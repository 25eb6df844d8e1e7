package server_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// errorSize is what an error takes in the trailers of gRPC, where each byte of its
// text may take three, and its details are base64. HAProxy's buffer is 16 KiB.
func errorSize(t *testing.T, err error) (size int) {
	t.Helper()
	if s, ok := status.FromError(err); ok {
		return 3*len(s.Message()) + 4*proto.Size(s.Proto())/3
	}
	var e *connect.Error
	require.ErrorAs(t, err, &e)
	size = 3*len(e.Message()) + 4*len(e.Message())/3
	for _, d := range e.Details() {
		size += 4 * len(d.Bytes()) / 3
	}
	return size
}

const mostErrorSize = 8 << 10

// The error of a selector is short, however long the selector is.
func TestErrorsQuoteLittle(t *testing.T) {
	const longest = 16 << 10 // of a selector
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	s := startFed(t, testConfig(t), src)
	for name, selector := range map[string]string{
		"line":       `{a="` + strings.Repeat("ü", longest/2-10) + `"?}`,
		"identifier": `{a="b"} ` + strings.Repeat("x", longest-10),
		"number":     `{a=1` + strings.Repeat("x", longest-10) + `}`,
		"regexp":     `{a=~"` + strings.Repeat("日", 1000) + `("}`,
		"label":      `{"` + strings.Repeat("ü", longest/2-10) + `"}[5m]`,
		"end":        `{a="` + strings.Repeat("%", longest-10),
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, s, selector, func(t *testing.T, call func(context.Context) error) {
				err := call(t.Context())
				requireCode(t, connect.CodeInvalidArgument, err)
				require.ErrorContains(t, err, "selector 1 does not parse")
				require.ErrorContains(t, err, "^")
				require.Less(t, errorSize(t, err), mostErrorSize)
			})
		})
	}
}

// So is that of all the rules that a request breaks.
func TestErrorsTellFewViolations(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	s := startFed(t, testConfig(t), src)
	wrong := make([]*metricsv1.LogPosition, 48)
	for i := range wrong {
		wrong[i] = &metricsv1.LogPosition{}
	}
	for name, call := range map[string]func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error{
		"each selector": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
			_, err := c.GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{Selectors: make([]string, 64)}))
			return err
		},
		"too many selectors": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
			_, err := c.GetLabelValues(ctx, connect.NewRequest(&metricsv1.GetLabelValuesRequest{Selectors: make([]string, 100_000)}))
			return err
		},
		"each position": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
			stream, err := c.ReadLogs(ctx, connect.NewRequest(&metricsv1.ReadLogsRequest{Positions: wrong}))
			if err != nil {
				return err
			}
			defer stream.Close()
			stream.Receive()
			return stream.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, o := range [][]connect.ClientOption{{connect.WithGRPC()}, {connect.WithGRPCWeb()}, {}, {connect.WithProtoJSON()}} {
				err := call(t.Context(), connectClient(t, s.RPCAddr().String(), true, o...))
				requireCode(t, connect.CodeInvalidArgument, err)
				require.NotEmpty(t, detail[*validate.Violations](t, err).GetViolations())
				require.Less(t, errorSize(t, err), mostErrorSize)
			}
		})
	}
}

// So is that of what is no request at all.
func TestErrorsQuoteLittleOfBrokenRequests(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	s := startFed(t, testConfig(t), src)
	long := strings.Repeat("x", 10<<10)
	message, err := proto.Marshal(&metricsv1.GetStatusRequest{})
	require.NoError(t, err)
	frame := string(append([]byte{0, 0, 0, 0, byte(len(message))}, message...))
	for name, c := range map[string]struct{ contentType, header, value, body string }{
		"json":                {"application/json", "", "", `{"limit":"` + long + `"}`},
		"encoding":            {"application/proto", "Content-Encoding", long, ""},
		"grpc-web encoding":   {"application/grpc-web+proto", "Grpc-Encoding", long, frame},
		"grpc-web timeout":    {"application/grpc-web+proto", "Grpc-Timeout", strings.Repeat("1", len(long)) + "m", frame},
		"connect timeout":     {"application/proto", "Connect-Timeout-Ms", long, ""},
		"protocol of connect": {"application/proto", "Connect-Protocol-Version", long, ""},
	} {
		t.Run(name, func(t *testing.T) {
			url := "http://" + s.RPCAddr().String() + metricsv1connect.MetricsServiceGetLabelNamesProcedure
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(c.body))
			require.NoError(t, err)
			req.Header.Set("Content-Type", c.contentType)
			if c.header != "" {
				req.Header.Set(c.header, c.value)
			}
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			said := string(body) + res.Header.Get("Grpc-Message")
			require.NotEmpty(t, said, "an error that says what is wrong")
			require.Less(t, len(said), mostErrorSize)
		})
	}
}
