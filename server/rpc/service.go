package rpc

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/browser"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/peer"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/internal/webconfig"
	"github.com/promgrpc/exporter/server/admission"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/refusal"
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
	Backend   Backend
	Calls     *call.Calls
	Refusals  *refusal.Refusals
	Engine    *promql.Engine       // of Prometheus' HTTP API
	Store     Store                // for Thanos' queriers, nil for none
	Log       *throttle.Logger     // of what clients can cause
	Web       *webconfig.Config    // of the listener, nil for none
	Admission *admission.Admission // says who may do what, nil for everybody everything
	Proxies   peer.Proxies
	Conns     *limit.Budget // connections
	Bytes     *limit.Budget // of requests and answers
	Started   time.Time
	Ready     func() error
	// Listeners are all that the server has.
	Listeners func() []daemon.Listener
}

// Service serves the calls of the MetricsService, of the QueryService, of Thanos' StoreAPI,
// of the health service and of reflection, and the page.
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

// Close breaks off all calls.
func (s *Service) Close() error { return s.http.Close() }
