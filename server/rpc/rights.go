package rpc

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/gen/go/thanos/info/infoconnect"
	"github.com/promgrpc/exporter/gen/go/thanos/thanosconnect"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promapi"
	"github.com/promgrpc/exporter/server/refusal"
)

// rightOf is what a call needs.
var rightOf = map[string]access.Right{
	metricsv1connect.MetricsServiceGetMetricsProcedure:     access.ToRead,
	metricsv1connect.MetricsServiceGetLabelNamesProcedure:  access.ToRead,
	metricsv1connect.MetricsServiceGetLabelValuesProcedure: access.ToRead,
	metricsv1connect.MetricsServiceGetMetadataProcedure:    access.ToRead,
	metricsv1connect.MetricsServiceReadLogsProcedure:       access.ToReadLogs,
	metricsv1connect.MetricsServiceListSegmentsProcedure:   access.ToReadStatus,
	metricsv1connect.MetricsServiceGetStatusProcedure:      access.ToReadStatus,
	queryv1connect.QueryServiceQueryProcedure:              access.ToRead,
	queryv1connect.QueryServiceEvaluateRulesProcedure:      access.ToRead,
	queryv1connect.QueryServiceReadSeriesProcedure:         access.ToRead,
	queryv1connect.QueryServiceFollowTimeProcedure:         access.ToRead,
	infoconnect.InfoInfoProcedure:                          access.ToRead,
	thanosconnect.StoreSeriesProcedure:                     access.ToRead,
	thanosconnect.StoreLabelNamesProcedure:                 access.ToRead,
	thanosconnect.StoreLabelValuesProcedure:                access.ToRead,
}

// open says whether anybody may have what is at a path: the page, which shows what its
// user may see, and the health that balancers ask for. Reflection and the version of
// Prometheus' API take any policy.
func open(path string) bool {
	for _, closed := range []string{
		"/" + metricsv1connect.MetricsServiceName + "/", "/" + queryv1connect.QueryServiceName + "/",
		"/" + infoconnect.InfoName + "/", "/" + thanosconnect.StoreName + "/", "/grpc.reflection.", promapi.Prefix,
	} {
		if strings.HasPrefix(path, closed) {
			return false
		}
	}
	return true
}

// rightTo returns what a call needs, and whether it needs any right.
func rightTo(path string) (access.Right, bool) {
	if promapi.Serves(path) {
		return access.ToRead, path != promapi.BuildInfo
	}
	right, ok := rightOf[path]
	return right, ok
}

// provesToken says whether letIn looks at the token of a request.
func (s *Service) provesToken(r *http.Request) bool {
	return !open(r.URL.Path) && s.Admission.File().HasPolicies()
}

// letIn finds out what a caller may do. An error says that it may not make this call.
func (s *Service) letIn(c *call.Caller, path string) error {
	if open(path) {
		return nil
	}
	c.Version = s.Admission.Version() // before what it says
	var err error
	if c.Rights, err = s.Admission.Of(c.Identity); err != nil {
		return err
	}
	if right, ok := rightTo(path); ok {
		return c.Rights.Check(right)
	}
	return nil
}

// deny answers a call that may not be made.
func (s *Service) deny(w http.ResponseWriter, r *http.Request, err error) {
	s.Log.Log(slog.LevelWarn, "call denied", "peer", s.peerOf(r), "call", r.URL.Path[:min(len(r.URL.Path), mostQuoted)], "err", err)
	err = s.Refusals.Of(err)
	status := http.StatusForbidden
	if connect.CodeOf(err) == connect.CodeUnauthenticated {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	s.refuse(w, r, status, err)
}

// refused is the error of a call for its caller.
func (s *Service) refused(c call.Caller, err error) error {
	err = s.Refusals.Of(err)
	if c.Rights.Restricted() {
		return refusal.Plain(err)
	}
	return err
}

// plainErrors leaves out of errors what a caller that may see some series only must not
// learn of others.
type plainErrors struct{}

// WrapUnary implements [connect.Interceptor].
func (plainErrors) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		return res, plainOf(ctx, err)
	}
}

// WrapStreamingHandler implements [connect.Interceptor].
func (plainErrors) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return plainOf(ctx, next(ctx, conn))
	}
}

// WrapStreamingClient implements [connect.Interceptor].
func (plainErrors) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func plainOf(ctx context.Context, err error) error {
	if err != nil && callerOf(ctx).Rights.Restricted() {
		return refusal.Plain(err)
	}
	return err
}
