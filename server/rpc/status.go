package rpc

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/common/version"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// GetStatus implements [metricsv1connect.MetricsServiceHandler]. It also answers before
// the server is ready.
func (s *Service) GetStatus(ctx context.Context, req *connect.Request[metricsv1.GetStatusRequest]) (*connect.Response[metricsv1.GetStatusResponse], error) {
	if err := checkGetStatus(req.Msg); err != nil {
		return nil, err
	}
	res := &metricsv1.GetStatusResponse{
		Instance:  s.Instance,
		Version:   version.Version,
		StartTime: timestamppb.New(s.Started),
		Uptime:    durationpb.New(time.Since(s.Started)),
		Streams:   uint32(s.Calls.Count()),
	}
	for _, l := range s.Listeners() {
		res.Listeners = append(res.Listeners, &metricsv1.Listener{
			Name: l.Name, Address: l.Addr.String(), Exposed: l.Exposed(),
			Tls: l.TLS, ClientCertificates: l.ClientCertificates, Passwords: l.Passwords, Policies: l.Policies,
		})
	}
	if err := s.Ready(); err != nil {
		res.NotReady = err.Error()
	} else {
		res.Ready = true
	}
	if err := s.Backend.GetStatus(ctx, callerOf(ctx), req.Msg, res); err != nil {
		return nil, s.Refusals.Of(err)
	}
	return connect.NewResponse(res), nil
}
