package rule

import (
	"errors"
	"fmt"

	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/promql"
)

// overlay is what the rules of a group came to so far at a step, for those after them.
type overlay struct {
	wanted bool
	series []chunk.Series
	failed []*rule // records that came to nothing
}

func newOverlay(g *group) *overlay { return &overlay{wanted: g.overlaid} }

// add adds what a rule came to.
func (o *overlay) add(r *rule, is *result, at int64) {
	switch {
	case r.alert || !o.wanted:
		return
	case is.failed != nil:
		o.failed = append(o.failed, r)
		return
	}
	for _, s := range is.series {
		var b chunk.Builder
		if s.histogram != nil {
			b.FloatHistogram(at, 0, s.histogram)
		} else {
			b.Float(at, 0, s.value)
		}
		o.series = append(o.series, chunk.Series{Labels: s.labels, Chunks: b.Take()})
	}
}

// errReadsFailed is of a rule that has nothing to read.
var errReadsFailed = errors.New("it may read what a rule results in that has failed")

// check returns an error if an expression may read what a record has not come to. What
// that came to before is not used in its place: whoever goes on after a cursor evaluates
// the step again, and that alone.
func (o *overlay) check(x *promql.Expression) error {
	if len(o.failed) == 0 {
		return nil
	}
	for _, s := range x.Selectors() {
		for _, r := range o.failed {
			if r.mayResultIn(s.Matchers) {
				return fmt.Errorf("%w: %q", errReadsFailed, r.name)
			}
		}
	}
	return nil
}
