package promgrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// Error is what a server answered, or what kept it from answering.
// status.Code and status.FromError understand it, whatever the protocol was.
type Error struct {
	// Address of the server.
	Address string
	// Code of the gRPC status.
	Code codes.Code
	// Message of the gRPC status.
	Message string
	// Details of the gRPC status whose types are known.
	Details []proto.Message
	// Dial is why no connection could be made, if that was the failure.
	Dial error

	broke    breakage
	outdated bool // refused for a credential that is another one by now
	unread   bool // files of ours could not be read: nothing is known of the server
}

// breakage is how a call ended that was sent and got no status.
type breakage int

const (
	whole   breakage = iota // it did not break off: it was not sent, was answered, or we gave up
	lost                    // the connection to the address was lost
	proxied                 // a proxy may have lost its server
)

// brokenOff returns the error of a call that broke off, and how.
func brokenOff(err error) (*Error, breakage) {
	var e *Error
	if !errors.As(err, &e) {
		return nil, whole
	}
	return e, e.broke
}

func (e *Error) Error() string {
	if e.Dial != nil {
		return fmt.Sprintf("%s: %s", e.Address, Reason(e.Dial))
	}
	return fmt.Sprintf("%s: %s: %s", e.Address, codeName(e.Code), e.Message)
}

// Unwrap returns why no connection could be made, if that was the failure.
func (e *Error) Unwrap() error { return e.Dial }

// GRPCStatus is what the status package looks for.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// OutOfRangeError says that the stream cannot resume from its cursor, because what
// follows is not retained any more.
type OutOfRangeError struct {
	// OldestCursor that works. Empty if the server did not say.
	OldestCursor string
	err          *Error
}

func (e *OutOfRangeError) Error() string { return e.err.Error() }

// Unwrap returns the *Error of the server.
func (e *OutOfRangeError) Unwrap() error { return e.err }

// ExpressionError says that an expression does not parse, or is of a kind that cannot
// be streamed.
type ExpressionError struct {
	// Start and End of what is wrong, as offsets in bytes. They are equal where
	// something is missing.
	Start, End int
	// Group and Rule that have the expression, in a file of rules.
	Group, Rule string
	err         *Error
}

func (e *ExpressionError) Error() string { return e.err.Error() }

// Reason is what is wrong, without the place.
func (e *ExpressionError) Reason() string { return e.err.Message }

// Unwrap returns the *Error of the server.
func (e *ExpressionError) Unwrap() error { return e.err }

// UnreachableError says that no server could be reached, or that none would resume
// a stream, and that the attempts allowed are used up.
type UnreachableError struct {
	// Attempts that failed in a row.
	Attempts int
	// Errors are the last of each address, in the order of the addresses.
	Errors []error
}

func (e *UnreachableError) Error() string {
	parts := make([]string, len(e.Errors))
	for i, err := range e.Errors {
		parts[i] = err.Error()
	}
	return "cannot reach " + strings.Join(parts, "; ")
}

// Unwrap returns the errors of all addresses.
func (e *UnreachableError) Unwrap() []error { return e.Errors }

// Reason is the innermost cause of a network error, in a few words.
func Reason(err error) string {
	var errno syscall.Errno
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer within the time allowed"
	}
	return err.Error()
}

// codeName returns a code in lower case words.
func codeName(c codes.Code) string { return strings.ReplaceAll(connect.Code(c).String(), "_", " ") }

// newError converts the errors of both client libraries.
func newError(address string, err error) *Error {
	e := &Error{Address: address, Code: codes.Unknown, Message: err.Error()}
	var ce *connect.Error
	if errors.As(err, &ce) {
		e.Code, e.Message = codes.Code(ce.Code()), ce.Message()
		for _, detail := range ce.Details() {
			if m, err := detail.Value(); err == nil {
				e.Details = append(e.Details, m)
			}
		}
		return e
	}
	if s, ok := status.FromError(err); ok {
		e.Code, e.Message = s.Code(), s.Message()
		for _, detail := range s.Details() {
			if m, ok := detail.(proto.Message); ok {
				e.Details = append(e.Details, m)
			}
		}
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Code = codes.DeadlineExceeded
	}
	return e
}

// resumable reports whether a call may succeed if it is repeated, given that the
// caller did not cancel it. Proxies turn the death of their server into Internal,
// Canceled or Unknown as often as into Unavailable. A call over a limit is refused
// everywhere and every time, unless the server says when to come again.
func resumable(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case codes.Unavailable, codes.Internal, codes.Canceled, codes.Unknown,
		codes.Aborted, codes.DeadlineExceeded:
		return true
	case codes.ResourceExhausted:
		_, ok := retryDelay(err)
		return ok
	}
	return false
}

// retryDelay returns how long a server that refused a call wants us to wait.
func retryDelay(err error) (time.Duration, bool) {
	var e *Error
	if errors.As(err, &e) {
		for _, detail := range e.Details {
			if d, ok := detail.(*errdetails.RetryInfo); ok {
				return max(0, d.GetRetryDelay().AsDuration()), true
			}
		}
	}
	return 0, false
}

func outOfRange(err error) (*OutOfRangeError, bool) {
	var e *Error
	if !errors.As(err, &e) || e.Code != codes.OutOfRange {
		return nil, false
	}
	o := &OutOfRangeError{err: e}
	for _, detail := range e.Details {
		if d, ok := detail.(*metricsv1.CursorOutOfRange); ok {
			o.OldestCursor = d.GetOldestCursor()
		}
	}
	return o, true
}

// located returns an *ExpressionError for the error of a server that says where an
// expression is wrong, and any other error as it is.
func located(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	for _, detail := range e.Details {
		if d, ok := detail.(*queryv1.InvalidExpression); ok {
			return &ExpressionError{Start: int(d.GetStart()), End: int(d.GetEnd()), Group: d.GetGroup(), Rule: d.GetRule(), err: e}
		}
	}
	return err
}

// interrupted returns what a server said when it ended a stream that should be
// resumed elsewhere.
func interrupted(err error) *metricsv1.StreamInterrupted {
	var e *Error
	if errors.As(err, &e) {
		for _, detail := range e.Details {
			if d, ok := detail.(*metricsv1.StreamInterrupted); ok {
				return d
			}
		}
	}
	return nil
}
