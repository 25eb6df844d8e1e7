package server

import (
	"context"
	"fmt"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// names finds labels for one stream that reads one log: in the head or, for a
// series that was dropped since, in the state as it was at the block that the
// stream is at, which it has to rebuild for that.
type names struct {
	ctx      context.Context
	replica  *replica
	rebuilds *rebuilds
	at       uint64     // the block that the stream is at
	past     *head.Head // the state as of some block up to at, with the series since
	err      error      // why labels could not be found
}

// Labels implements [labelSource].
func (n *names) Labels(ref uint64, buf segment.Labels) (segment.Labels, bool) {
	if ls, ok := n.replica.head.Labels(ref, buf); ok {
		return ls, true
	}
	if !n.lookBack(ref) {
		return buf, false
	}
	return n.past.Labels(ref, buf)
}

// AppendLabels implements [labelSource].
func (n *names) AppendLabels(dst []byte, ref uint64) []byte {
	before := len(dst)
	dst = n.replica.head.AppendLabels(dst, ref)
	if len(dst) == before && n.lookBack(ref) {
		dst = n.past.AppendLabels(dst, ref)
	}
	return dst
}

// lookBack makes sure that past knows a series.
func (n *names) lookBack(ref uint64) bool {
	if n.past != nil {
		if _, ok := n.past.Latest(ref); ok {
			return true
		}
		n.past = nil
	}
	if n.err != nil {
		return false
	}
	if n.err = n.rebuilds.begin(n.ctx); n.err != nil {
		return false
	}
	past := head.New()
	if err := n.replica.log.Rebuild(n.at, past); err != nil {
		n.err = fmt.Errorf("find the labels of series %d as of block %d: %w", ref, n.at, err)
		return false
	}
	if _, ok := past.Latest(ref); !ok {
		n.err = fmt.Errorf("series %d is not in the log as of block %d", ref, n.at)
		return false
	}
	n.past = past
	return true
}

// advance goes on to a block.
func (n *names) advance(b *segment.Block) {
	n.at = b.Sequence
	if n.past == nil || len(b.Series) == 0 || b.Sequence <= n.past.Sequence() {
		return
	}
	series := &segment.Block{Sequence: b.Sequence, Time: b.Time, Series: b.Series}
	if n.past.ApplyBlock(series) != nil {
		n.past = nil
	}
}

// rebuilds bounds how many streams hold a state of the past, each of which
// takes about the memory of the head. A stream keeps its slot until its end.
type rebuilds struct {
	slots chan struct{}
	held  bool
}

func (r *rebuilds) begin(ctx context.Context) error {
	if r.held {
		return nil
	}
	select {
	case r.slots <- struct{}{}:
		r.held = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *rebuilds) end() {
	if r.held {
		r.held = false
		<-r.slots
	}
}
