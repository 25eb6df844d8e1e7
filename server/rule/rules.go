package rule

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/schedule"
)

// Shared is what rules share with the rest of a server.
type Shared struct {
	Engine *promql.Engine
	Clock  *schedule.Clock
	Calls  *call.Calls
	// CursorWait is how long a call waits for this replica to reach its cursor.
	CursorWait time.Duration
}

// Rules evaluates files of rules.
type Rules struct {
	Limits
	Shared
	metrics *metrics
}

// New returns what evaluates the files of a server's callers.
func New(l Limits, from Shared) *Rules { return &Rules{Limits: l, Shared: from, metrics: newMetrics()} }

// Collectors are for what is counted of rules.
func (r *Rules) Collectors() []prometheus.Collector { return r.metrics.all() }

// EvaluateRules serves a call.
func (r *Rules) EvaluateRules(ctx context.Context, from call.Caller, req *queryv1.EvaluateRulesRequest, out *connect.ServerStream[call.Response]) error {
	c, err := r.Calls.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer c.Leave()
	hold := c.Hold()
	defer hold.Release()
	reading := &reader{ctx: c.Context(), engine: r.Engine, viewer: from.Viewer(), limits: r.Limits, request: req, grow: hold.Grow}
	f, err := reading.read()
	if err != nil {
		return r.refused(err)
	}
	s, err := newSubscription(r, c, f, req)
	if err != nil {
		return err
	}
	s.sender = call.NewSender(c, out, func() proto.Message { return new(queryv1.EvaluateRulesResponse) })
	s.viewer, s.restricted = from.Viewer(), from.Rights.Restricted()
	s.hold, s.fileBytes = hold, hold.Held()
	c.Started("rules")
	err = s.run()
	return c.Ended(fitting(s.told), err)
}

// refused is the error of a file that is not evaluated.
func (r *Rules) refused(err error) error {
	var invalid *invalidError
	if errors.As(err, &invalid) {
		return refusal.Invalid("rules: "+daemon.Excerpt(invalid.Reason), invalid.detail())
	}
	return r.Calls.Refusals.Of(err)
}

// metrics are counted as things happen in rules.
type metrics struct {
	steps, failures prometheus.Counter
	alerts          prometheus.Gauge
}

func newMetrics() *metrics {
	return &metrics{
		steps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_server_rule_steps_total", Help: "Steps at which groups of rules were evaluated for clients.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_server_rule_failures_total", Help: "Rules that could not be evaluated at a step, which clients were told.",
		}),
		alerts: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promgrpc_server_rule_alerts", Help: "Alerts that are pending or firing, of all files of rules that are being evaluated.",
		}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.steps, m.failures, m.alerts}
}
