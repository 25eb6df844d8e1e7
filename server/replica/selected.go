package replica

import (
	"math"

	"github.com/promgrpc/exporter/server/selection"
)

// Selected are the series of a log that are selected, live or not, as of one block.
type Selected struct {
	Refs     []uint64 // ascending
	Next     uint64   // that the next new series gets
	Sequence uint64   // of the block
}

// Selected finds them, one more than most if there are more. The selection does not select
// all series.
func (st state) Selected(e *selection.Evaluation, sel *selection.Selection, most int) (*Selected, error) {
	found := &Selected{}
	s, err := st.snapshot(e, sel, math.MinInt64, func() { found.Next = st.Head.NextRef() })
	if err != nil {
		return nil, err
	}
	defer s.View.Release()
	found.Sequence = s.View.Sequence()
	for id := range s.matches.Each {
		ref := s.refs[id]
		// The index may have series that the head has dropped.
		if _, ok := s.View.Latest(ref); !ok {
			continue
		}
		if found.Refs = append(found.Refs, ref); len(found.Refs) > most {
			break
		}
	}
	return found, nil
}
