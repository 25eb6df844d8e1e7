package server_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
)

// A server that is new to an old log is not ready with the beginning of it,
// however late it is told how long the log is.
func TestReadyOnceCaughtUp(t *testing.T) {
	src := newSource(t)
	for i := range int64(3) {
		src.write(point{series: "a", t: i, v: 1})
		src.rotate()
	}
	s := start(t, testConfig(t))
	id := src.writer.Log().ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}
	c, _, err := link.Dial(t.Context(), s.LinkAddr().String(), hello, link.Options{})
	require.NoError(t, err)
	defer c.Close()
	raw, err := src.writer.Log().ReadRaw(0)
	require.NoError(t, err)
	defer raw.Close()
	last := src.writer.Log().Last()
	for sequence := uint64(0); sequence < last; {
		chunk, err := raw.Next(t.Context())
		require.NoError(t, err)
		if chunk.Start {
			require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Segment{
				Segment: &linkv1.SegmentStart{Name: chunk.SegmentName, FirstSequence: chunk.FirstSequence},
			}}))
		}
		require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Append{
			Append: &linkv1.SegmentAppend{Offset: chunk.Offset, Data: chunk.Data},
		}}))
		for sequence < chunk.LastSequence { // what it confirms, it has
			f, err := c.Receive()
			require.NoError(t, err)
			sequence = f.GetPosition().GetSequence()
			require.Error(t, s.Ready())
		}
	}
	require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Tail{Tail: &linkv1.Position{LogId: id[:], Sequence: last}}}))
	require.Eventually(t, func() bool { return s.Ready() == nil }, patience, time.Millisecond)
}
