package server_test

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server"
)

// requireLimit requires a refusal that names the limit, and says whether to retry.
func requireLimit(t *testing.T, name string, passing bool, err error) {
	t.Helper()
	requireCode(t, connect.CodeResourceExhausted, err)
	require.ErrorContains(t, err, "--limit."+name)
	require.Equal(t, name, detail[*errdetails.QuotaFailure](t, err).GetViolations()[0].GetSubject())
	require.Equal(t, passing, hasDetail[*errdetails.RetryInfo](err))
}

// unaryCalls are the unary calls that take selectors.
var unaryCalls = map[string]func(ctx context.Context, t *testing.T, s *instance, selector string, o ...connect.ClientOption) error{
	"GetLabelNames": func(ctx context.Context, t *testing.T, s *instance, selector string, o ...connect.ClientOption) error {
		_, err := connectClient(t, s.RPCAddr().String(), false, o...).
			GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{Selectors: []string{selector}}))
		return err
	},
	"GetLabelValues": func(ctx context.Context, t *testing.T, s *instance, selector string, o ...connect.ClientOption) error {
		_, err := connectClient(t, s.RPCAddr().String(), false, o...).
			GetLabelValues(ctx, connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "a", Selectors: []string{selector}}))
		return err
	},
}

var unaryOptions = map[string][]connect.ClientOption{
	"connect":      nil,
	"grpcweb":      {connect.WithGRPCWeb()},
	"connect json": {connect.WithProtoJSON()},
	"connect get":  {connect.WithHTTPGet(), connect.WithSendGzip()},
}

// A selector that would compile to more than is allowed is not compiled.
func TestSelectorSize(t *testing.T) {
	src := newSource(t)
	src.write(point{series: `up{path="x"}`, t: now(), v: 1})
	s := startFed(t, testConfig(t), src)
	// A thousand instructions each.
	repeats := server.DefaultLimitConfig().SelectorSize/1000 + 1
	selector := `{path=~"` + strings.Repeat("x0.{1000}", int(repeats)) + `"}`
	refused := 0
	eachWay(t, s, selector, func(t *testing.T, call func(context.Context) error) {
		requireLimit(t, "selector-size", false, call(context.Background()))
		refused++
	})
	require.InDelta(t, refused, s.metricOf(t, "promgrpc_server_over_limit_total", "selector-size"), 0)
}
