package merge

import (
	"errors"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// kind is what comes after an error of a stream of one server.
type kind int

const (
	again    kind = iota // the stream is opened again, at another server
	moves                // the same, at once, as nothing is wrong
	noNumber             // the same, once there are numbers
	tooOld               // another server may have more
	final                // the client is told, as it would be by a server
)

func kindOf(err error) kind {
	switch {
	case errors.Is(err, errNoNumber):
		return noNumber
	case errors.Is(err, errForgets):
		return moves
	case errors.Is(err, errTooManyMoved):
		return final
	}
	switch connect.CodeOf(err) {
	case connect.CodeOutOfRange:
		return tooOld
	case connect.CodeInvalidArgument, connect.CodeResourceExhausted, connect.CodeFailedPrecondition, connect.CodeUnimplemented:
		return final
	case connect.CodeUnavailable:
		if interrupted, ok := detail[*metricsv1.StreamInterrupted](err); ok && interrupted.GetReason() != metricsv1.StreamInterrupted_REASON_UNSPECIFIED {
			return moves
		}
	}
	return again
}

// detail returns a detail of an error.
func detail[M any](err error) (found M, ok bool) {
	var of *connect.Error
	if !errors.As(err, &of) {
		return found, false
	}
	for _, d := range of.Details() {
		if m, err := d.Value(); err == nil {
			if found, ok = m.(M); ok {
				return found, true
			}
		}
	}
	return found, false
}
