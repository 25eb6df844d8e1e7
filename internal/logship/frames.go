package logship

import (
	"fmt"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
)

// Frames is a sink at the other end of a connection, where [Deliver] is called with
// what comes.
type Frames struct{ Conn *link.Conn }

// StartSegment implements [Sink].
func (f Frames) StartSegment(name string, firstSequence uint64) error {
	start := &linkv1.SegmentStart{Name: name, FirstSequence: firstSequence}
	return f.Conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Segment{Segment: start}})
}

// Append implements [Sink].
func (f Frames) Append(offset uint64, data []byte) error {
	piece := &linkv1.SegmentAppend{Offset: offset, Data: data}
	return f.Conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Append{Append: piece}})
}

// Gap implements [Sink]. Its cause stays here.
func (f Frames) Gap(gap *seglog.GapError) error {
	missing := &linkv1.Gap{AfterSequence: gap.After, NextSequence: gap.Next}
	return f.Conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Gap{Gap: missing}})
}

// Deliver gives a sink what a frame brings of a log. Frames that bring nothing of one
// are an error.
func Deliver(f *linkv1.Frame, to Sink) error {
	switch k := f.GetKind().(type) {
	case *linkv1.Frame_Segment:
		return to.StartSegment(k.Segment.GetName(), k.Segment.GetFirstSequence())
	case *linkv1.Frame_Append:
		return to.Append(k.Append.GetOffset(), k.Append.GetData())
	case *linkv1.Frame_Gap:
		return to.Gap(&seglog.GapError{After: k.Gap.GetAfterSequence(), Next: k.Gap.GetNextSequence()})
	}
	return fmt.Errorf("a frame of the kind %T, where those of a log were to come", f.GetKind())
}
