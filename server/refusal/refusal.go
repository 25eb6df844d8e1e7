package refusal

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/selection"
)

// RetryAfter is when a client may retry that was refused because of others.
const RetryAfter = time.Second

// Reasons for which a stream ends and has to resume at another replica.
var (
	ErrDraining = errors.New("the server is shutting down")
	ErrAged     = errors.New("the stream has followed for --stream.max-age")
	// ErrRightsChanged is of a stream whose caller may do something else by now, or
	// nothing.
	ErrRightsChanged = errors.New("what the caller may do has changed, or the credential is one no more")
)

// Refusals turns errors into those that a client gets, and counts those of limits.
type Refusals struct{ overLimit, denied *prometheus.CounterVec }

func New() *Refusals {
	r := &Refusals{
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_server_over_limit_total",
			Help: "Calls and streams refused, and connections closed, because of a limit, by the name of its flag without --limit.",
		}, []string{"limit"}),
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_server_denied_calls_total",
			Help: "Calls and streams refused because of who calls, by why: " + strings.Join(access.Reasons, ", ") + ".",
		}, []string{"reason"}),
	}
	for _, reason := range access.Reasons {
		r.denied.WithLabelValues(reason)
	}
	return r
}

// Collectors are for the counts.
func (r *Refusals) Collectors() []prometheus.Collector {
	return []prometheus.Collector{r.overLimit, r.denied}
}

// Of returns the client's error for a call that is over a limit, has a wrong selector, or
// may not be made. Other errors stay as they are.
func (r *Refusals) Of(err error) error {
	var known *connect.Error
	var over *limit.Error
	var syntax *selection.SyntaxError
	var denied *access.Denied
	var away *AwayError
	switch {
	case errors.As(err, &away):
		return connect.NewError(connect.CodeUnavailable, away)
	case errors.As(err, &known):
		return err
	case errors.As(err, &over):
		return r.limited(over, err)
	case errors.As(err, &syntax):
		return invalidSelector(syntax)
	case errors.As(err, &denied):
		return r.forbidden(denied)
	}
	return err
}

// forbidden counts a caller that is denied.
func (r *Refusals) forbidden(denied *access.Denied) error {
	r.denied.WithLabelValues(denied.Reason).Inc()
	if denied.Unauthenticated {
		return connect.NewError(connect.CodeUnauthenticated, denied)
	}
	return connect.NewError(connect.CodePermissionDenied, denied)
}

// limited counts a refusal.
func (r *Refusals) limited(over *limit.Error, err error) error {
	r.overLimit.WithLabelValues(over.Name).Inc()
	return exhausted(over, err)
}

// exhausted says in its details when to retry, if that can help.
func exhausted(over *limit.Error, err error) error {
	e := connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("over a limit of this server: %w", err))
	withDetail(e, &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{
		Subject: over.Name, Description: over.Error(),
	}}})
	if over.Passing {
		withDetail(e, &errdetails.RetryInfo{RetryDelay: durationpb.New(RetryAfter)})
	}
	return e
}

// Invalid says what is wrong with a request.
func Invalid(message string, details ...proto.Message) error {
	e := connect.NewError(connect.CodeInvalidArgument, errors.New(message))
	for _, d := range details {
		withDetail(e, d)
	}
	return e
}

func withDetail(e *connect.Error, m proto.Message) {
	if d, err := connect.NewErrorDetail(m); err == nil {
		e.AddDetail(d)
	}
}

// Unavailable tells the client to resume at another replica, with the last cursor that
// it got.
func Unavailable(cause error, cursor string) error {
	e := connect.NewError(connect.CodeUnavailable, fmt.Errorf("%w: go on at another replica", cause))
	withDetail(e, &metricsv1.StreamInterrupted{Cursor: cursor, Reason: reasonOf(cause)})
	return e
}

func reasonOf(cause error) metricsv1.StreamInterrupted_Reason {
	switch {
	case errors.Is(cause, ErrDraining):
		return metricsv1.StreamInterrupted_REASON_DRAINING
	case errors.Is(cause, ErrAged), errors.Is(cause, ErrRightsChanged):
		return metricsv1.StreamInterrupted_REASON_MAX_AGE
	}
	return metricsv1.StreamInterrupted_REASON_UNSPECIFIED
}

// OutOfRange tells the client that its cursor is not served, and the oldest one that is.
func OutOfRange(cause error, oldest string) error {
	e := connect.NewError(connect.CodeOutOfRange, fmt.Errorf("cursor: %w", cause))
	withDetail(e, &metricsv1.CursorOutOfRange{OldestCursor: oldest})
	return e
}
