package server

import (
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// Reasons for which a stream ends though its client did not want it to.
var (
	errDraining = errors.New("the server is shutting down")
	errAged     = errors.New("the stream has followed for --stream.max-age")
	errStalled  = errors.New("the client did not take what was sent to it (--stream.stall-timeout, --stream.min-rate)")
)

// Reasons for which a server is not ready.
var (
	errNotReady   = errors.New("no log has been received yet")
	errStuck      = errors.New("the log does not get on: what came is neither written nor applied")
	errFailing    = errors.New("the log cannot be written or applied")
	errCatchingUp = errors.New("the disk has an old state, and a forwarder is to bring what is newer")
)

// How much of what a client sent its errors quote: they travel in trailers, for
// which balancers have room of some KiB, and there a character may take nine bytes.
const (
	maxAround  = 80  // characters on either side of the place that is meant
	mostReason = 200 // bytes
	more       = '…' // stands for what is left out
)

// shortened returns so many bytes of a text.
func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + string(more)
}

func withDetail(e *connect.Error, m proto.Message) {
	if d, err := connect.NewErrorDetail(m); err == nil {
		e.AddDetail(d)
	}
}

// unavailable tells the client to go on at another replica, with the cursor
// that it got last.
func unavailable(cause error, cursor string) error {
	e := connect.NewError(connect.CodeUnavailable, fmt.Errorf("%w: go on at another replica", cause))
	withDetail(e, &metricsv1.StreamInterrupted{Cursor: cursor, Reason: reasonOf(cause)})
	return e
}

func reasonOf(cause error) metricsv1.StreamInterrupted_Reason {
	switch {
	case errors.Is(cause, errDraining):
		return metricsv1.StreamInterrupted_REASON_DRAINING
	case errors.Is(cause, errAged):
		return metricsv1.StreamInterrupted_REASON_MAX_AGE
	}
	return metricsv1.StreamInterrupted_REASON_UNSPECIFIED
}

func outOfRange(cause error, oldest string) error {
	e := connect.NewError(connect.CodeOutOfRange, fmt.Errorf("cursor: %w", cause))
	withDetail(e, &metricsv1.CursorOutOfRange{OldestCursor: oldest})
	return e
}
