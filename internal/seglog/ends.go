package seglog

import (
	"fmt"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// NameTime is the time in the name of a segment's file, zero if it has none.
func NameTime(name string) time.Time {
	t, _ := time.Parse(nameTime, name[:min(len(name), len(nameTime))])
	return t
}

// Ends is what name, size and footer say of a sealed segment.
type Ends struct {
	RemoteInfo
	// Written is when the footer was, by the clock of the log's writer.
	Written time.Time
}

// ReadEnds reads the footer of a sealed segment of a size.
func ReadEnds(name string, footer []byte, size int64) (Ends, error) {
	first, ok := FirstSequence(name)
	if !ok {
		return Ends{}, fmt.Errorf("%w: %.100q is not the name of a segment", segment.ErrCorrupt, name)
	}
	h, err := segment.ParseFrameHeader(footer)
	if err != nil {
		return Ends{}, err
	}
	if h.Kind != segment.KindFooter || h.Sequence+1 < first {
		return Ends{}, fmt.Errorf("%w: it ends with %s %d and no footer", segment.ErrCorrupt, h.Kind, h.Sequence)
	}
	return Ends{
		RemoteInfo: RemoteInfo{
			Name: name, FirstSequence: first, LastSequence: h.Sequence, CreateTime: NameTime(name),
			Size: size, Checksum: h.Prev, MinTime: h.MinTime, MaxTime: h.MaxTime,
		},
		Written: time.UnixMilli(h.Time),
	}, nil
}
