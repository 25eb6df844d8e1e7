package call

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
)

// Sender sends responses that are bytes already to a client.
type Sender struct {
	call    *Call
	out     *connect.ServerStream[Response]
	message func() proto.Message
	raw     bool // envelopes are written as they are
	started bool // the headers are written
}

// NewSender returns the sender of a call whose responses are messages of a kind.
func NewSender(c *Call, out *connect.ServerStream[Response], message func() proto.Message) *Sender {
	return &Sender{call: c, out: out, message: message, raw: isPlain(c.from.Writer.Header())}
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

// PrefixSize is what precedes a message of a stream in every protocol: a byte of
// flags, all clear here, and the length.
const PrefixSize = 5

// Complete writes the length of a message into the prefix before it, which makes both an
// envelope.
func Complete(envelope []byte) []byte {
	binary.BigEndian.PutUint32(envelope[1:PrefixSize], uint32(len(envelope)-PrefixSize))
	return envelope
}

// Send sends a message with room for its prefix before it.
func (s *Sender) Send(envelope []byte) error { return s.SendComplete(Complete(envelope)) }

// SendComplete sends an envelope, which it does not change, so that several clients may be
// sent the same. Connect writes the first response, with the headers, and all that have to
// be JSON or compressed. It copies a response twice and writes the prefix separately, which
// makes more HTTP/2 frames. Since the envelope is the same in all protocols, the others are
// written here in one piece.
func (s *Sender) SendComplete(envelope []byte) error {
	n := len(envelope) - PrefixSize
	if err := s.call.Write(n, func() error { return s.write(envelope) }); err != nil {
		return err
	}
	s.call.calls.metrics.bytesSent.Add(float64(n))
	return nil
}

// SendAll sends several envelopes, which it does not change, in one piece where that can be.
func (s *Sender) SendAll(envelopes []byte) error {
	for len(envelopes) > 0 {
		n := PrefixSize + int(binary.BigEndian.Uint32(envelopes[1:PrefixSize]))
		if s.raw && s.started {
			n = len(envelopes)
		}
		if err := s.SendComplete(envelopes[:n]); err != nil {
			return err
		}
		envelopes = envelopes[n:]
	}
	return nil
}

func (s *Sender) write(envelope []byte) error {
	if !s.raw || !s.started {
		s.started = true
		return s.out.Send(&Response{wire: envelope[PrefixSize:], message: s.message})
	}
	_, err := s.call.from.Writer.Write(envelope)
	if err == nil {
		err = s.call.from.Control.Flush()
	}
	if err != nil {
		return connect.NewError(connect.CodeUnknown, fmt.Errorf("write response: %w", err))
	}
	return nil
}
