package stored

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/schedule"
	"github.com/promgrpc/exporter/server/selection"
)

// Calls serves both calls.
type Calls struct {
	Engine *promql.Engine // whose turns and memory are taken
	Source promql.Source
	Clock  *schedule.Clock
	// CursorWait is how long is waited for the logs to come to where they have to be.
	CursorWait time.Duration
	Calls      *call.Calls
}

// errNotReached is of a server whose logs are behind.
var errNotReached = errors.New("the logs have not come here to the time that they have to have reached")

// ReadSeries serves a call.
func (c *Calls) ReadSeries(ctx context.Context, from call.Caller, req *queryv1.ReadSeriesRequest, out *connect.ServerStream[call.Response]) error {
	admitted, err := c.Calls.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer admitted.Leave()
	admitted.Started("series")
	to := call.NewSender(admitted, out, func() proto.Message { return new(queryv1.ReadSeriesResponse) })
	return admitted.Ended("", c.readSeries(admitted.Context(), from.Viewer(), req, to))
}

func (c *Calls) readSeries(ctx context.Context, v selection.Viewer, req *queryv1.ReadSeriesRequest, to *call.Sender) error {
	sets, err := c.Engine.ParseSelectors(ctx, v, req.GetSelectors())
	var syntax *promql.SyntaxError
	if errors.As(err, &syntax) {
		return refusal.Invalid("selectors: " + daemon.Excerpt(syntax.Reason))
	}
	if err != nil {
		return err
	}
	if err := refusing(&refusal.AwayError{Groups: c.Clock.Away()}, req.GetWhenAway()); err != nil {
		return err
	}
	if req.Reached != nil {
		if err := c.Clock.Reach(ctx, req.GetReached(), c.CursorWait, refusal.Unavailable(errNotReached, "")); err != nil {
			return err
		}
	}
	held := c.Engine.Hold(v)
	defer held.Release()
	e := newEncoder(to.Send)
	if req.GetContent() == queryv1.ReadSeriesRequest_CONTENT_EXEMPLARS {
		return c.sendExemplars(ctx, v, held, sets, req, e)
	}
	q := samples.Query{
		Sets: sets, From: req.GetMinTime(), To: req.GetMaxTime(), LabelsOnly: req.GetContent() == queryv1.ReadSeriesRequest_CONTENT_LABELS,
	}
	var found []*samples.Series
	err = c.Engine.InTurn(ctx, v, func(ctx context.Context) (err error) {
		found, err = c.Source.Select(ctx, v, held, q)
		return readError(err)
	})
	if err != nil {
		return err
	}
	for _, s := range found {
		if err := e.series(s, q.LabelsOnly); err != nil {
			return err
		}
	}
	return e.end()
}

func (c *Calls) sendExemplars(ctx context.Context, v selection.Viewer, held *limit.Hold, sets [][]*labels.Matcher, req *queryv1.ReadSeriesRequest, e *encoder) error {
	var found []samples.ExemplarSeries
	err := c.Engine.InTurn(ctx, v, func(ctx context.Context) (err error) {
		found, err = c.Source.Exemplars(ctx, v, held, sets, req.GetMinTime(), req.GetMaxTime())
		return readError(err)
	})
	if err != nil {
		return err
	}
	for i := range found {
		if err := e.exemplars(&found[i]); err != nil {
			return err
		}
	}
	return e.end()
}

// refusing refuses what is not to wait for groups that are away.
func refusing(away *refusal.AwayError, when metricsv1.WhenAway) error {
	if len(away.Groups) > 0 && when == metricsv1.WhenAway_WHEN_AWAY_REFUSE {
		return away
	}
	return nil
}

// readError says what failed.
func readError(err error) error {
	if err != nil {
		return fmt.Errorf("read series: %w", err)
	}
	return nil
}
