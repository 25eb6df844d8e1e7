package replica

import (
	"iter"
	"math"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/window"
)

// Recent is the series of a log that are selected, live or not, with their recent samples,
// as of one block.
type Recent struct {
	*Snapshot
	Window *window.View
	next   uint64
}

// Recent returns those that are selected, all if sel is nil. It has to be released.
func (st state) Recent(e *selection.Evaluation, sel *selection.Selection) (*Recent, error) {
	r := &Recent{}
	if sel == nil {
		sel = &selection.Selection{}
	}
	var err error
	r.Snapshot, err = st.snapshot(e, sel, math.MinInt64, func() { r.Window, r.next = st.Window.View(), st.Head.NextRef() })
	if err != nil {
		if r.Window != nil {
			r.Window.Release()
		}
		return nil, err
	}
	return r, nil
}

// Release ends the views.
func (r *Recent) Release() {
	r.View.Release()
	r.Window.Release()
}

// Next is the reference that the next new series gets.
func (r *Recent) Next() uint64 { return r.next }

// Has says whether the log has a series.
func (r *Recent) Has(ref uint64) bool {
	_, ok := r.View.Latest(ref)
	return ok
}

// From yields the references of the series from one on, ascending.
func (r *Recent) From(first uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		if r.matches == nil {
			r.View.Each(first, func(ref uint64, _ *segment.Latest) bool { return yield(ref) })
			return
		}
		for id := range r.matches.Each {
			if ref := r.refs[id]; ref >= first && r.Has(ref) && !yield(ref) {
				return
			}
		}
	}
}
