package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
)

// sender takes responses to a client, and cuts off one that takes nothing for
// the stall timeout.
type sender struct {
	out     *connect.ServerStream[response]
	writer  http.ResponseWriter
	control *http.ResponseController
	whole   bool // envelopes are written as they were assembled
	begun   bool // the headers are written
	peer    string
	stall   *stall
}

func newSender(ctx context.Context, out *connect.ServerStream[response], timeout time.Duration) *sender {
	writer, control := writerOf(ctx)
	return &sender{
		out: out, writer: writer, control: control,
		whole: isPlain(writer.Header()), peer: out.Conn().Peer().Addr, stall: newStall(control, timeout),
	}
}

// isPlain says whether responses are protobuf that is not compressed, by the
// headers that Connect has chosen for the request.
func isPlain(h http.Header) bool {
	for _, name := range []string{"Grpc-Encoding", "Connect-Content-Encoding"} {
		if encoding := h.Get(name); encoding != "" && encoding != "identity" {
			return false
		}
	}
	kind := h.Get("Content-Type")
	return strings.HasPrefix(kind, "application/") && !strings.Contains(kind, "json")
}

// send sends what is assembled. Connect writes the first response, with the
// headers, and all that are to be JSON or compressed. It copies a response
// twice, and writes its prefix by itself, which breaks the HTTP/2 frames apart.
// The envelope being the same in all protocols, the others go out in one piece.
func (s *sender) send(a *assembler) error {
	defer s.stall.watch()()
	if !s.whole || !s.begun {
		s.begun = true
		return s.out.Send(&response{wire: a.message()})
	}
	_, err := s.writer.Write(a.envelope())
	if err == nil {
		err = s.control.Flush()
	}
	if err != nil {
		return connect.NewError(connect.CodeUnknown, fmt.Errorf("write response: %w", err))
	}
	return nil
}

type writerKey struct{}

// writerOf returns what withWriter let the handlers behind it have.
func writerOf(ctx context.Context) (http.ResponseWriter, *http.ResponseController) {
	writer, _ := ctx.Value(writerKey{}).(http.ResponseWriter)
	return writer, http.NewResponseController(writer)
}

// withWriter lets the handlers behind it write to the connection.
func withWriter(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), writerKey{}, w)))
	})
}
