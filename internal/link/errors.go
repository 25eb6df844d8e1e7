package link

import (
	"errors"
	"fmt"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

var (
	// ErrInterrupted is what Receive returns after [Conn.Interrupt].
	ErrInterrupted = errors.New("link: interrupted")
	// ErrFrameTooLarge is what Send returns for a frame over the limit.
	// Nothing was sent and the connection is as it was.
	ErrFrameTooLarge = errors.New("link: frame is over the limit")
	// ErrIdle is what Receive returns when nothing came for IdleTimeout.
	ErrIdle = errors.New("link: nothing heard from the peer")
)

// GoodbyeError is what Receive and Dial return when the peer said goodbye.
type GoodbyeError struct {
	// Reason in the peer's words.
	Reason string
	// Code where the peer thinks that a program has something to do about it.
	Code linkv1.GoodbyeCode
	// PlacementVersion of the peer's log, for GOODBYE_CODE_PLACEMENT.
	PlacementVersion uint64
}

func goodbyeError(g *linkv1.Goodbye) *GoodbyeError {
	return &GoodbyeError{Reason: shorten(g.GetReason(), maxReason), Code: g.GetCode(), PlacementVersion: g.GetPlacementVersion()}
}

func (e *GoodbyeError) Error() string { return "link: peer said goodbye: " + e.Reason }

// MisplacedError is an error of a [Handler] that tells a receiver's program that its
// placement does not fit.
type MisplacedError struct {
	// Version of the placement that counts, 0 if none does for this receiver.
	Version uint64
	Err     error
}

func (e *MisplacedError) Error() string { return e.Err.Error() }

func (e *MisplacedError) Unwrap() error { return e.Err }

// frameError is what Receive returns for bytes that are not what the protocol
// asks for. The connection cannot be used any more.
type frameError struct {
	// Reason is one of a few words, as in the metric promgrpc_link_rejected_total.
	Reason string
	Err    error
}

func (e *frameError) Error() string { return "link: " + e.Err.Error() }

func (e *frameError) Unwrap() error { return e.Err }

// Reasons for which a connection is rejected.
const (
	reasonConnections = "connections" // too many of them
	reasonTimeout     = "timeout"     // handshake not done in time
	reasonTLS         = "tls"         // TLS handshake broken
	reasonJunk        = "junk"        // not frames
	reasonSize        = "size"        // frame over the limit
	reasonSlow        = "slow"        // frame that does not get on
	reasonVersion     = "version"     // another version of the protocol
	reasonRole        = "role"        // certificate that has not the role
	reasonExpired     = "expired"     // certificate that ended since
	reasonRefused     = "refused"     // by the handler
)

// explained are those that a peer is told of before it has been welcome: it is one of
// ours by all appearances.
var explained = []string{reasonVersion, reasonRole, reasonExpired}

func junk(format string, args ...any) *frameError {
	return &frameError{Reason: reasonJunk, Err: fmt.Errorf(format, args...)}
}
