package stream

import (
	"errors"
	"fmt"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// names finds labels for one stream that reads one log: in the head or, for a
// series that was dropped since, in what the segment says that the stream is
// in, which it has to read for that.
type names struct {
	stream  *stream
	replica *replica.Replica
	at      uint64     // the block that the stream is at
	past    *head.Head // with every series of some segment
	err     error      // why labels could not be found
}

// Labels implements [labelSource].
func (n *names) Labels(ref uint64, buf segment.Labels) (segment.Labels, bool) {
	if ls, ok := n.replica.Head.Labels(ref, buf); ok {
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
	dst = n.replica.Head.AppendLabels(dst, ref)
	if len(dst) == before && n.lookBack(ref) {
		dst = n.past.AppendLabels(dst, ref)
	}
	return dst
}

// bytes is about what the past takes in memory.
func (n *names) bytes() int64 {
	if n.past == nil {
		return 0
	}
	return n.past.Bytes()
}

// goOn says which block the stream is at. The past goes with the end of its segment.
func (n *names) goOn(sequence uint64) {
	n.at = sequence
	if n.past != nil && sequence > n.past.Sequence() {
		n.past = nil
	}
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
	n.stream.evaluation.Pause()
	n.stream.decoding.silent = true
	defer func() { n.stream.decoding.silent = false }()
	var err error
	n.past, err = n.stream.rebuild(n.replica, func(a seglog.Applier) error { return n.replica.Log.RebuildSegment(n.at, a) })
	if n.past != nil {
		// A segment may be damaged further on.
		if _, ok := n.past.Latest(ref); ok {
			return true
		}
	}
	if err == nil {
		err = errors.New("it is not in the log")
	}
	n.past, n.err = nil, fmt.Errorf("find the labels of series %d as of block %d: %w", ref, n.at, err)
	return false
}
