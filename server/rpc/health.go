package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
)

const (
	healthName  = "grpc.health.v1.Health"
	healthCheck = "/" + healthName + "/Check"
	healthWatch = "/" + healthName + "/Watch"
	// readyChecked is how often readiness is checked for those who watch it: it changes
	// with time, too.
	readyChecked = 100 * time.Millisecond
)

// handleHealth serves gRPC's health service. The whole server, "", its services and the
// health service itself all have the same status.
func (s *Service) handleHealth(mux *http.ServeMux, options ...connect.HandlerOption) {
	mux.Handle(healthCheck, connect.NewUnaryHandler(healthCheck, s.checkHealth, options...))
	mux.Handle(healthWatch, connect.NewServerStreamHandler(healthWatch, s.watchHealth, options...))
}

func (s *Service) checkHealth(_ context.Context, req *connect.Request[healthv1.HealthCheckRequest]) (*connect.Response[healthv1.HealthCheckResponse], error) {
	status := s.healthOf(req.Msg.GetService())
	if status == healthv1.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("there is no such service here"))
	}
	return connect.NewResponse(&healthv1.HealthCheckResponse{Status: status}), nil
}

func (s *Service) healthOf(service string) healthv1.HealthCheckResponse_ServingStatus {
	switch service {
	case "", metricsv1connect.MetricsServiceName, queryv1connect.QueryServiceName, healthName:
	default:
		return healthv1.HealthCheckResponse_SERVICE_UNKNOWN
	}
	if s.Ready() != nil {
		return healthv1.HealthCheckResponse_NOT_SERVING
	}
	return healthv1.HealthCheckResponse_SERVING
}

// watchHealth sends the status at once and whenever it changes, until the client leaves
// or the server ends. It has a place of its own.
func (s *Service) watchHealth(ctx context.Context, req *connect.Request[healthv1.HealthCheckRequest], out *connect.ServerStream[healthv1.HealthCheckResponse]) error {
	c, err := s.Calls.AdmitWatch(ctx, callerOf(ctx))
	if err != nil {
		return err
	}
	defer c.Leave()
	c.Started("health")
	err = s.sendHealth(c.Context(), req.Msg.GetService(), func(m *healthv1.HealthCheckResponse) error {
		return c.Write(proto.Size(m), func() error { return out.Send(m) })
	})
	return c.Ended("", err)
}

// sendHealth returns when ctx ends, unless send fails. By then it has sent that the
// server drains.
func (s *Service) sendHealth(ctx context.Context, service string, send func(*healthv1.HealthCheckResponse) error) error {
	told := healthv1.HealthCheckResponse_UNKNOWN
	for {
		changed, ended := s.readiness.Next(), ctx.Err() != nil
		if now := s.healthOf(service); now != told {
			if err := send(&healthv1.HealthCheckResponse{Status: now}); err != nil {
				return fmt.Errorf("send the status: %w", err)
			}
			told = now
		}
		if ended {
			return context.Cause(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// WatchReadiness wakes those who watch the health whenever readiness changes.
func (s *Service) WatchReadiness(ctx context.Context) error {
	ticker := time.NewTicker(readyChecked)
	defer ticker.Stop()
	for was := s.Ready() == nil; ; {
		if is := s.Ready() == nil; is != was {
			was = is
			s.readiness.Wake()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
