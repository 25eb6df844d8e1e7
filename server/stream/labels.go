package stream

import (
	"errors"
	"fmt"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// labelSource knows the labels of series.
type labelSource interface {
	// Labels appends the labels of a series to buf, if it is known.
	Labels(ref uint64, buf segment.Labels) (segment.Labels, bool)
	// AppendLabels appends them as they stand in a TimeSeries; nothing if it
	// is not known.
	AppendLabels(dst []byte, ref uint64) []byte
}

// labels finds those of the series that a stream comes to in one log. A series that
// was dropped from the head since is in the segment that the stream is reading, whose
// state is rebuilt for it.
type labels struct {
	stream  *stream
	replica *replica.Replica
	at      uint64     // the block that the stream is at
	past    *head.Head // with every series of that segment
	err     error      // why labels could not be found
}

// Labels implements [labelSource].
func (n *labels) Labels(ref uint64, buf segment.Labels) (segment.Labels, bool) {
	if ls, ok := n.replica.Head.Labels(ref, buf); ok {
		return ls, true
	}
	if !n.lookBack(ref) {
		return buf, false
	}
	return n.past.Labels(ref, buf)
}

// AppendLabels implements [labelSource].
func (n *labels) AppendLabels(dst []byte, ref uint64) []byte {
	before := len(dst)
	dst = n.replica.Head.AppendLabels(dst, ref)
	if len(dst) == before && n.lookBack(ref) {
		dst = n.past.AppendLabels(dst, ref)
	}
	return dst
}

// bytes is about what the past state takes in memory.
func (n *labels) bytes() int64 {
	if n.past == nil {
		return 0
	}
	return n.past.Bytes()
}

// moveTo says which block the stream is at. The past state goes with its segment.
func (n *labels) moveTo(sequence uint64) {
	n.at = sequence
	if n.past != nil && sequence > n.past.Sequence() {
		n.past = nil
	}
}

// lookBack makes sure that the past state has a series.
func (n *labels) lookBack(ref uint64) bool {
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
		// The segment may be damaged, but after the series.
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
