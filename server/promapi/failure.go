package promapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/refusal"
)

// The kinds of errors that clients know.
const (
	badData     = "bad_data"
	canceled    = "canceled"
	execution   = "execution"
	internal    = "internal"
	notFound    = "not_found"
	timeout     = "timeout"
	tooMany     = "too_many_requests"
	unavailable = "unavailable"
)

// statusClosed is what nginx writes of a client that left before its answer.
const statusClosed = 499

// failure is an error as the API tells of it.
type failure struct {
	status int
	kind   string
	text   string
	// retry says that the same may succeed later.
	retry bool
	// allow is the methods that would do, "" if it is not about the method.
	allow string
}

func (f *failure) Error() string { return f.text }

// invalid says what is wrong with a parameter.
func invalid(parameter string, err error) error {
	return &failure{status: http.StatusBadRequest, kind: badData, text: fmt.Sprintf("invalid parameter %q: %v", parameter, err)}
}

// bad says what is wrong with a request.
func bad(text string) error {
	return &failure{status: http.StatusBadRequest, kind: badData, text: text}
}

// unreadable is of a request that did not arrive as a whole, or is no form.
func unreadable(err error) error {
	var known *connect.Error
	if errors.As(err, &known) {
		return err
	}
	return bad("error parsing form values: " + excerpt(err.Error()))
}

// inText says what is wrong with an expression or a selector, if that is it. Where
// Prometheus names no parameter it is "".
func inText(parameter string, err error) error {
	var syntax *promql.SyntaxError
	switch {
	case !errors.As(err, &syntax):
		return err
	case parameter == "":
		return bad(excerpt(syntax.Printed))
	}
	return invalid(parameter, errors.New(excerpt(syntax.Printed)))
}

// failureOf is how the API tells of an error.
func failureOf(err error) *failure {
	var known *failure
	var over *limit.Error
	var call *connect.Error
	var denied *access.Denied
	var away *refusal.AwayError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &away):
		return &failure{status: http.StatusServiceUnavailable, kind: unavailable, text: away.Error(), retry: true}
	case errors.As(err, &over) && (over.Passing || !errors.As(err, &call)):
		return limited(over)
	case errors.As(err, &denied):
		return &failure{status: http.StatusForbidden, kind: execution, text: denied.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{status: http.StatusServiceUnavailable, kind: timeout, text: "query timed out in expression evaluation"}
	case errors.Is(err, context.Canceled):
		return &failure{status: statusClosed, kind: canceled, text: "query was canceled in expression evaluation"}
	case errors.As(err, &call):
		return ofCall(call)
	case errors.Is(err, seglog.ErrRemote):
		return &failure{status: http.StatusServiceUnavailable, kind: unavailable, text: "the bucket cannot be read now", retry: true}
	}
	return &failure{status: http.StatusUnprocessableEntity, kind: execution, text: err.Error()}
}

// limited is what is over a limit. Prometheus has its own words for two of them.
func limited(over *limit.Error) *failure {
	switch {
	case over.Passing:
		return &failure{status: http.StatusServiceUnavailable, kind: tooMany, text: over.Error(), retry: true}
	case over.Name == limit.Name(promql.FlagTime):
		return &failure{status: http.StatusServiceUnavailable, kind: timeout, text: over.Error()}
	}
	return &failure{status: http.StatusUnprocessableEntity, kind: execution, text: over.Error()}
}

// ofCall is an error of what other calls have, too.
func ofCall(err *connect.Error) *failure {
	f := &failure{status: http.StatusInternalServerError, kind: internal, text: err.Message()}
	switch err.Code() {
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		f.status, f.kind = http.StatusBadRequest, badData
	case connect.CodeUnauthenticated:
		f.status, f.kind = http.StatusUnauthorized, execution
	case connect.CodePermissionDenied:
		f.status, f.kind = http.StatusForbidden, execution
	case connect.CodeResourceExhausted:
		f.status, f.kind = http.StatusRequestEntityTooLarge, badData
	case connect.CodeDeadlineExceeded:
		f.status, f.kind = http.StatusRequestTimeout, timeout
	case connect.CodeUnavailable:
		f.status, f.kind, f.retry = http.StatusServiceUnavailable, unavailable, true
	}
	return f
}

// fail answers with an error, which is counted if it is one of a limit.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var over *limit.Error
	if errors.As(err, &over) {
		_ = a.Refusals.Of(err) // counts it
	}
	if a.Caller(r.Context()).Restricted {
		err = plain(err)
	}
	failureOf(err).send(w)
}

// plain is an error that tells nothing of what others have or do.
func plain(err error) error {
	var over *limit.Error
	var call *connect.Error
	switch {
	case errors.As(err, &over):
		return over.Plain()
	case errors.As(err, &call):
		return refusal.Plain(call)
	}
	return err
}

// Refuse answers a request that does not get as far as the API, with a status.
func Refuse(w http.ResponseWriter, status int, err error) {
	var call *connect.Error
	f := failureOf(err)
	if errors.As(err, &call) {
		f = ofCall(call)
	}
	f.status = status
	if status == http.StatusServiceUnavailable {
		f.kind = tooMany
	}
	f.send(w)
}

func (f *failure) send(w http.ResponseWriter) {
	h := w.Header()
	if f.retry {
		h.Set("Retry-After", strconv.Itoa(int(refusal.RetryAfter.Seconds())))
	}
	if f.allow != "" {
		h.Set("Allow", f.allow)
	}
	h.Set("Content-Type", jsonType)
	w.WriteHeader(f.status)
	var j encoder
	j.raw(`{"status":"error","errorType":`)
	j.text(f.kind)
	j.raw(`,"error":`)
	j.text(f.text)
	j.raw(`}`)
	_, _ = w.Write(j.buf) // It is the caller who is gone.
}

// excerpt is the start of what a client wrote.
func excerpt(text string) string {
	const most = 1000
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
