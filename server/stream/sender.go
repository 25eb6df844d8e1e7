package stream

import (
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"
)

// sender sends responses to a client.
type sender struct {
	call    *Call
	out     *connect.ServerStream[Response]
	writer  http.ResponseWriter
	control *http.ResponseController
	raw     bool // envelopes are written as they were assembled
	started bool // the headers are written
}

func newSender(c *Call, to Caller, out *connect.ServerStream[Response]) *sender {
	return &sender{call: c, out: out, writer: to.Writer, control: to.Control, raw: isPlain(to.Writer.Header())}
}

// isPlain says whether responses are uncompressed protobuf, by the headers that Connect
// has chosen for the request.
func isPlain(h http.Header) bool {
	for _, name := range []string{"Grpc-Encoding", "Connect-Content-Encoding"} {
		if encoding := h.Get(name); encoding != "" && encoding != "identity" {
			return false
		}
	}
	kind := h.Get("Content-Type")
	return strings.HasPrefix(kind, "application/") && !strings.Contains(kind, "json")
}

// send sends what is assembled. Connect writes the first response, with the headers,
// and all that have to be JSON or compressed. It copies a response twice and writes
// the prefix separately, which makes more HTTP/2 frames. Since the envelope is the same
// in all protocols, the others are written here in one piece.
func (s *sender) send(a *assembler) error {
	return s.call.Write(len(a.message()), func() error { return s.write(a) })
}

func (s *sender) write(a *assembler) error {
	if !s.raw || !s.started {
		s.started = true
		return s.out.Send(&Response{wire: a.message()})
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
