package pushed

import (
	"context"
	"time"

	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/promql/pushdown"
	"github.com/promgrpc/exporter/server/router/remote"
)

// Config is what the groups are.
type Config struct {
	Groups remote.Groups
	// Placement says which group has a series; nil: nothing does.
	Placement func() *placement.Placement
}

// Groups evaluate parts of expressions. They implement [promql.Groups].
type Groups struct {
	Config
	metrics *metrics
}

// New returns the groups of a router.
func New(c Config) *Groups { return &Groups{Config: c, metrics: newMetrics()} }

// Apart implements [promql.Groups]. Where a sender decides, the same series from two of
// them is in two groups; and where nothing does, in any.
func (g *Groups) Apart() (moved []int64, ok bool) {
	p := g.Placement()
	if p == nil || p.Spread() == placement.BySender {
		return nil, false
	}
	for _, epoch := range p.Epochs()[1:] {
		moved = append(moved, epoch.From)
	}
	return moved, true
}

// Ask implements [promql.Groups].
func (g *Groups) Ask(a promql.Asked) promql.Asking {
	if a.Step <= 0 {
		a.Step = time.Second
	}
	if a.From%a.Step.Milliseconds() != 0 {
		return unasked{}
	}
	return &asking{groups: g, asked: a}
}

// unasked is what a call of Query cannot ask for: steps are whole multiples of the time
// between them.
type unasked struct{}

// At implements [promql.Asking].
func (unasked) At(context.Context, int64) ([]promql.Answer, error) { return nil, pushdown.ErrWhole }

// Close implements [promql.Asking].
func (unasked) Close() {}

// Came implements [promql.Groups].
func (g *Groups) Came(whole bool) {
	if whole {
		g.metrics.whole.Inc()
		return
	}
	g.metrics.pushed.Inc()
}
