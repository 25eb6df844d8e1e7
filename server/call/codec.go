package call

import (
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/internal/daemon"
)

// Response is a response of a stream as the bytes that go over the wire.
type Response struct {
	wire []byte
	// message makes the message that they are, for JSON.
	message func() proto.Message
}

// Codecs are for responses, and for messages.
func Codecs() connect.HandlerOption {
	return connect.WithHandlerOptions(
		connect.WithCodec(protoCodec{}),
		connect.WithCodec(jsonCodec{"json"}),
		connect.WithCodec(jsonCodec{"json; charset=utf-8"}),
	)
}

// protoCodec is Connect's codec for protobuf, except that a response is bytes already.
type protoCodec struct{}

func (protoCodec) Name() string   { return "proto" }
func (protoCodec) IsBinary() bool { return true }

func (protoCodec) Marshal(message any) ([]byte, error) {
	return protoCodec{}.MarshalAppend(nil, message)
}

// MarshalAppend is what Connect calls, with a buffer from its own pool.
func (protoCodec) MarshalAppend(dst []byte, message any) ([]byte, error) {
	switch m := message.(type) {
	case *Response:
		return append(dst, m.wire...), nil
	case proto.Message:
		return proto.MarshalOptions{}.MarshalAppend(dst, m)
	}
	return nil, fmt.Errorf("cannot marshal %T", message)
}

func (protoCodec) MarshalStable(message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return protoCodec{}.Marshal(message)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

func (protoCodec) Unmarshal(data []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("cannot unmarshal into %T", message)
	}
	return proto.Unmarshal(data, m)
}

// jsonCodec is Connect's codec for JSON. It has to parse a response into a message.
// JSON has a single NaN, so stale markers lose their bits.
type jsonCodec struct{ name string }

func (c jsonCodec) Name() string { return c.name }
func (jsonCodec) IsBinary() bool { return false }

func (jsonCodec) Marshal(message any) ([]byte, error) {
	switch m := message.(type) {
	case *Response:
		full := m.message()
		if err := proto.Unmarshal(m.wire, full); err != nil {
			return nil, fmt.Errorf("assembled response: %w", err)
		}
		return protojson.Marshal(full)
	case proto.Message:
		return protojson.Marshal(m)
	}
	return nil, fmt.Errorf("cannot marshal %T", message)
}

func (c jsonCodec) MarshalStable(message any) ([]byte, error) { return c.Marshal(message) }

// Unmarshal ignores unknown fields, so that newer clients are served. Its error may
// quote a value, which may be as large as the request.
func (jsonCodec) Unmarshal(data []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("cannot unmarshal into %T", message)
	}
	if len(data) == 0 {
		return fmt.Errorf("no bytes are not a JSON object")
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, m); err != nil {
		return errors.New(daemon.Excerpt(err.Error()))
	}
	return nil
}
