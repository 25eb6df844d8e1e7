package rpc

import (
	"context"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/browser"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/peer"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/internal/webconfig"
	"github.com/promgrpc/exporter/server/admission"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/query"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/rule"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/stream"
)

// Config of the calls.
type Config struct {
	// Instance is the name of this replica.
	Instance string
	// Origins that browsers may call from.
	Origins browser.Origins
	// Hosts are the names that browsers may call by.
	Hosts browser.Hosts
	// RequestTimeout for a request to arrive, whatever it is for.
	RequestTimeout time.Duration
	// StallTimeout for an answer to be taken, beyond what it takes at MinRate bytes a
	// second.
	StallTimeout time.Duration
	MinRate      int64
	// RequestBytes that a request may have, compressed or not.
	RequestBytes int64
	// ConnStreams that one connection may have open.
	ConnStreams int
	// CallRate is how many calls and streams one connection may start in a second.
	CallRate int
}

// Shared is what the calls need of the server.
type Shared struct {
	Replicas    *replica.Set
	Evaluations *selection.Evaluations
	Refusals    *refusal.Refusals
	Streams     *stream.Streams
	Engine      *promql.Engine
	Queries     *query.Queries
	Rules       *rule.Rules
	Log         *throttle.Logger     // of what clients can cause
	Web         *webconfig.Config    // of the listener, nil for none
	Admission   *admission.Admission // says who may do what, nil for everybody everything
	Proxies     peer.Proxies
	Conns       *limit.Budget // connections
	Bytes       *limit.Budget // of requests and answers
	Lookups     *limit.Budget // turns
	Started     time.Time
	Ready       func() error
	// Upstream is the address of a relay's upstream, "" if there is none.
	Upstream func() string
	// Bucket is how the server gets on with it, nil if there is none.
	Bucket func() *metricsv1.BucketStatus
	// Listeners are all that the server has.
	Listeners func() []daemon.Listener
}

// Service serves the calls of the MetricsService, of the QueryService, of the health
// service and of reflection, and the page.
type Service struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	Config
	Shared
	http   *http.Server
	doors  doors
	unused daemon.UnusedConns
	// readiness wakes those who watch the health.
	readiness broadcast.Signal
}

func New(c Config, from Shared) *Service {
	s := &Service{Config: c, Shared: from}
	s.doors = s.newDoors()
	s.Web.LetTokensPass(s.provesToken)
	s.http = s.newHTTP()
	return s
}

// Collector is for what is counted.
func (s *Service) Collector() prometheus.Collector { return s.doors.refused }

// Serve serves the connections of a listener until the service is shut down or closed.
func (s *Service) Serve(l net.Listener) error { return s.http.Serve(s.bounded(l)) }

// Shutdown waits for the calls to end. Those that have not when ctx ends are broken
// off, with an error.
func (s *Service) Shutdown(ctx context.Context) error {
	s.unused.Close()
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	return err
}

// Close breaks off all calls.
func (s *Service) Close() error { return s.http.Close() }

// ReadLogs implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) ReadLogs(ctx context.Context, req *connect.Request[metricsv1.ReadLogsRequest], out *connect.ServerStream[metricsv1.ReadLogsResponse]) error {
	if err := checkReadLogs(req.Msg); err != nil {
		return err
	}
	return s.Streams.ReadLogs(ctx, callerOf(ctx), req.Msg, out)
}

// getMetrics is GetMetrics with responses that are bytes already.
func (s *Service) getMetrics(ctx context.Context, req *connect.Request[metricsv1.GetMetricsRequest], out *connect.ServerStream[stream.Response]) error {
	if err := checkGetMetrics(req.Msg); err != nil {
		return err
	}
	return s.Streams.GetMetrics(ctx, callerOf(ctx), req.Msg, out)
}

// turn waits until a call may read what this server has. The turn has to be ended.
func (s *Service) turn(ctx context.Context) (end func(), err error) {
	turn := s.Lookups.Hold(callerOf(ctx).Peer)
	if err := turn.Wait(ctx, 1); err != nil {
		return nil, err
	}
	return turn.Release, nil
}
