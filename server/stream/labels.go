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
func (l *labels) Labels(ref uint64, buf segment.Labels) (segment.Labels, bool) {
	if ls, ok := l.replica.Head.Labels(ref, buf); ok {
		return ls, true
	}
	if !l.lookBack(ref) {
		return buf, false
	}
	return l.past.Labels(ref, buf)
}

// AppendLabels implements [labelSource].
func (l *labels) AppendLabels(dst []byte, ref uint64) []byte {
	before := len(dst)
	dst = l.replica.Head.AppendLabels(dst, ref)
	if len(dst) == before && l.lookBack(ref) {
		dst = l.past.AppendLabels(dst, ref)
	}
	return dst
}

// bytes is about what the past state takes in memory.
func (l *labels) bytes() int64 {
	if l.past == nil {
		return 0
	}
	return l.past.Bytes()
}

// moveTo says which block the stream is at. The past state goes with its segment.
func (l *labels) moveTo(sequence uint64) {
	l.at = sequence
	if l.past != nil && sequence > l.past.Sequence() {
		l.past = nil
	}
}

// lookBack makes sure that the past state has a series.
func (l *labels) lookBack(ref uint64) bool {
	if l.past != nil {
		if _, ok := l.past.Latest(ref); ok {
			return true
		}
		l.past = nil
	}
	if l.err != nil {
		return false
	}
	l.stream.evaluation.Pause()
	l.stream.decoding.silent = true
	defer func() { l.stream.decoding.silent = false }()
	var err error
	l.past, err = l.stream.rebuild(l.replica, func(a seglog.Applier) error {
		return l.replica.Log.RebuildSegment(l.at, a, l.stream.decoding.wait)
	})
	if l.past != nil {
		// The segment may be damaged, but after the series.
		if _, ok := l.past.Latest(ref); ok {
			return true
		}
	}
	if err == nil {
		err = errors.New("it is not in the log")
	}
	l.past, l.err = nil, fmt.Errorf("find the labels of series %d as of block %d: %w", ref, l.at, err)
	return false
}
