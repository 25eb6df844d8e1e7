package router

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
)

// statusTime is how long a group may take to say how it is now. After that it is told how it
// was when it was asked last.
const statusTime = time.Second

// GetStatus adds what is known of the groups and their logs. It waits for none that is away,
// and says which are.
func (l lookups) GetStatus(ctx context.Context, from call.Caller, req *metricsv1.GetStatusRequest, res *metricsv1.GetStatusResponse) error {
	r := l.router
	if away := r.groups.Away(); len(away) > 0 && req.GetWhenAway() == metricsv1.WhenAway_WHEN_AWAY_REFUSE {
		return &refusal.AwayError{Groups: away}
	}
	res.Groups = r.groupStates()
	if p := r.groups.Placement(); p != nil {
		res.PlacementVersion = p.Version()
	}
	newest := map[string]*metricsv1.LogStatus{}
	for _, status := range r.states(ctx) {
		res.LiveSeries += status.GetLiveSeries()
		for _, of := range status.GetLogs() {
			newest[of.GetLogId()] = of
		}
	}
	var present cursor.Cursor
	for _, of := range newest {
		res.Logs = append(res.Logs, of)
		if id, err := segment.ParseLogID(of.GetLogId()); err == nil && len(present.Positions) < cursor.MaxPositions {
			present.Positions = append(present.Positions, cursor.Position{Log: id, Sequence: of.GetLastSequence()})
		}
	}
	slices.SortFunc(res.Logs, func(a, b *metricsv1.LogStatus) int { return cmp.Compare(a.GetLogId(), b.GetLogId()) })
	slices.SortFunc(present.Positions, func(a, b cursor.Position) int { return slices.Compare(a.Log[:], b.Log[:]) })
	if len(present.Positions) > 0 {
		res.Cursor = from.Rights.Cursor(&present)
	}
	return nil
}

// groupStates are what is known of the groups.
func (r *Router) groupStates() []*metricsv1.GroupStatus {
	all, silent := r.groups.Status(), r.time.Silent()
	for _, g := range all {
		g.Silent = slices.Contains(silent, g.GetName())
	}
	return all
}

// states are what a server of each group says of it now, or else said last.
func (r *Router) states(ctx context.Context) []*metricsv1.GetStatusResponse {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	list, _ := r.groups.Now()
	all := make([]*metricsv1.GetStatusResponse, len(list))
	var wg sync.WaitGroup
	for i, g := range list {
		wg.Go(func() {
			all[i] = new(metricsv1.GetStatusResponse)
			if !g.Away() && g.Invoke(ctx, metricsv1connect.MetricsServiceGetStatusProcedure, &metricsv1.GetStatusRequest{}, all[i]) == nil {
				return
			}
			if last := g.Last(); last != nil {
				all[i] = last
			}
		})
	}
	wg.Wait()
	return all
}
