package stream

import (
	"errors"
	"fmt"
	"log/slog"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// leftOut counts what a stream leaves out because it is larger than a response may be.
// The client is told, and gets past it.
type leftOut struct{ parts int }

// opened takes the error of opening a series. It is false for one that is left out.
func (l *leftOut) opened(err error) (bool, error) {
	if errors.Is(err, errTooLarge) {
		l.parts++
		return false, nil
	}
	return err == nil, err
}

// fits says whether a histogram or an exemplar may be sent.
func (l *leftOut) fits(data []byte) bool {
	if len(data) <= mostPart {
		return true
	}
	l.parts++
	return false
}

// report tells the client what was left out of the blocks after one up to another.
func (st *stream) report(l leftOut, src *source, after, upTo uint64) error {
	if l.parts == 0 {
		return nil
	}
	id := src.replica.ID.String()
	st.streams.metrics.leftOut.Add(float64(l.parts))
	st.streams.Log.Log(slog.LevelWarn, "parts of series left out", "log_id", id, "after_sequence", after, "up_to_sequence", upTo, "parts", l.parts)
	return st.send(st.gapEvent(&metricsv1.Gap{
		LogId: id, AfterSequence: after, NextSequence: upTo + 1,
		Reason: fmt.Sprintf("%d label sets, histograms or exemplars are above %d bytes, the most that a response may hold of each; all else was sent", l.parts, mostPart),
	}))
}
