package query

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/schedule"
)

// Config of queries.
type Config struct {
	// Lookback that a request means that says none.
	Lookback time.Duration
	// CursorWait is how long a query waits for this replica to reach its cursor.
	CursorWait time.Duration
}

// Shared is what queries share with the rest of a server.
type Shared struct {
	Engine *promql.Engine
	Clock  *schedule.Clock
	Calls  *call.Calls
}

// Queries are those of a server.
type Queries struct {
	Config
	Shared
	metrics *metrics

	mu     sync.Mutex
	shared map[key]*shared
}

// New returns the queries of a server, none so far.
func New(c Config, from Shared) *Queries {
	return &Queries{Config: c, Shared: from, metrics: newMetrics(), shared: map[key]*shared{}}
}

// Collectors are for what is counted of queries.
func (q *Queries) Collectors() []prometheus.Collector { return q.metrics.all() }

// Query serves a call.
func (q *Queries) Query(ctx context.Context, from call.Caller, req *queryv1.QueryRequest, out *connect.ServerStream[call.Response]) error {
	c, err := q.Calls.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer c.Leave()
	p, err := q.plan(c.Context(), from.Viewer(), req)
	if err != nil {
		return q.Calls.Refusals.Of(err)
	}
	s := q.subscribe(c, p, call.NewSender(c, out, func() proto.Message { return new(queryv1.QueryResponse) }))
	defer s.close()
	c.Started("query")
	err = s.run()
	return c.Ended(s.cursor(), err)
}
