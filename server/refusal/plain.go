package refusal

import (
	"errors"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/internal/limit"
)

// Plain returns a client's error in words that tell nothing of what others have or do:
// for a caller that may see some series only. Of an error that is about the request it
// leaves everything, of any other the code and the details.
func Plain(err error) error {
	var known *connect.Error
	var over *limit.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &over):
		return exhausted(over.Plain(), over.Plain())
	case !errors.As(err, &known):
		return err // the call's own end, such as that of its context
	}
	var text string
	switch known.Code() {
	case connect.CodeInvalidArgument, connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeNotFound, connect.CodeUnimplemented,
		connect.CodeCanceled, connect.CodeDeadlineExceeded, connect.CodeAborted:
		return err
	case connect.CodeOutOfRange:
		text = "cursor: it is older than what is kept here, or of a log that is not here"
	case connect.CodeUnavailable:
		text = "the server cannot go on with this call for now: go on at another replica"
	case connect.CodeDataLoss:
		text = "what the server has on its disk is damaged; its log says where"
	default:
		text = "the server failed; its log says why"
	}
	plain := connect.NewError(known.Code(), errors.New(text))
	for _, d := range known.Details() {
		plain.AddDetail(d)
	}
	return plain
}
