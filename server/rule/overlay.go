package rule

import (
	"github.com/promgrpc/exporter/server/chunk"
)

// overlay is what the rules of a group came to so far at a step, for those after them.
type overlay struct {
	wanted bool
	series []chunk.Series
}

func newOverlay(g *group) *overlay { return &overlay{wanted: g.overlaid} }

// add adds what a rule came to, or, if it has failed, what it came to before.
func (o *overlay) add(is *result, before *ruleState, at int64) {
	samples := is.series
	if is.failed != nil {
		samples, at = before.series, before.evaluated
	}
	if !o.wanted {
		return
	}
	for _, s := range samples {
		var b chunk.Builder
		if s.histogram != nil {
			b.FloatHistogram(at, 0, s.histogram)
		} else {
			b.Float(at, 0, s.value)
		}
		o.series = append(o.series, chunk.Series{Labels: s.labels, Chunks: b.Take()})
	}
}
