package link

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/buffer"
)

// The kind of a frame is the number of the field that it has in linkv1.Frame.kind. These
// two have payloads.
const (
	kindBatch  = 3
	kindAppend = 6
	// fieldTenant is that of a batch.
	fieldTenant = 4
	// kinds are those of all fields, and 0, which no frame has.
	kinds = 15
)

var oneofKind = (*linkv1.Frame)(nil).ProtoReflect().Descriptor().Oneofs().ByName("kind")

// kindNames are the names of the fields by kind.
var kindNames = namesOf(oneofKind.Fields())

func namesOf(fields protoreflect.FieldDescriptors) (names [kinds]string) {
	for i := range fields.Len() {
		names[fields.Get(i).Number()] = string(fields.Get(i).Name())
	}
	return names
}

const (
	// readStep is how much of a frame has to arrive before it gets memory for
	// the rest.
	readStep = 64 << 10
	// progressStep is how much of a frame has to arrive within IdleTimeout: as much
	// as is sent within WriteTimeout.
	progressStep = writeStep
	// keepBuffer is how much of a write buffer is kept between frames.
	keepBuffer = 1 << 20
)

// A frame on the wire:
//
//	+----------------+----------------------+----------------+------------------+
//	| length, varint | kind << 3 | 2, varint | length, varint | message of kind  |
//	+----------------+----------------------+----------------+------------------+
//	                 |<------------------- linkv1.Frame ----------------------->|
//
// It is what proto.Marshal makes of a Frame, which holds one field exactly; but a batch
// has its tenant before its body.

// appendFrame appends the frame with its length to dst. For a batch or an
// append, the bytes at the end of the frame are returned as payload instead, to
// be sent after dst without having been copied. With an error dst holds no more
// than before.
func appendFrame(dst []byte, f *linkv1.Frame, limit int) (head, payload []byte, kind int, err error) {
	var scratch [2 * (1 + binary.MaxVarintLen64)]byte
	switch k := f.GetKind().(type) {
	case *linkv1.Frame_Batch:
		inner := appendVarintField(scratch[:0], 1, k.Batch.GetId())
		inner = appendVarintField(inner, 2, uint64(k.Batch.GetSchema()))
		if inner, err = appendTenant(inner, k.Batch.GetTenant()); err != nil {
			return dst, nil, kindBatch, err
		}
		head, err = appendPayloadFrame(dst, kindBatch, inner, 3, k.Batch.GetBody(), limit)
		return head, k.Batch.GetBody(), kindBatch, err
	case *linkv1.Frame_Append:
		inner := appendVarintField(scratch[:0], 1, k.Append.GetOffset())
		head, err = appendPayloadFrame(dst, kindAppend, inner, 2, k.Append.GetData(), limit)
		return head, k.Append.GetData(), kindAppend, err
	}
	kind = kindOf(f)
	if kind == 0 {
		return dst, nil, 0, errors.New("link: frame without a kind")
	}
	size := proto.Size(f)
	if size > min(limit, MaxSmall) {
		return dst, nil, kind, fmt.Errorf("%w: %s of %d bytes", ErrFrameTooLarge, kindNames[kind], size)
	}
	head = protowire.AppendVarint(dst, uint64(size))
	head, err = proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(head, f)
	if err != nil {
		return dst, nil, kind, fmt.Errorf("link: marshal %s: %w", kindNames[kind], err)
	}
	return head, nil, kind, nil
}

// appendPayloadFrame appends all of a frame but the payload, which is field num
// and the last of its message; fields are those before it.
func appendPayloadFrame(dst []byte, kind protowire.Number, fields []byte, num protowire.Number, payload []byte, limit int) ([]byte, error) {
	inner := len(fields)
	if len(payload) > 0 {
		inner += protowire.SizeTag(num) + protowire.SizeBytes(len(payload))
	}
	size := protowire.SizeTag(kind) + protowire.SizeBytes(inner)
	if size > limit {
		return dst, fmt.Errorf("%w: %s of %d bytes", ErrFrameTooLarge, kindNames[kind], size)
	}
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = protowire.AppendTag(dst, kind, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(inner))
	dst = append(dst, fields...)
	if len(payload) > 0 {
		dst = protowire.AppendTag(dst, num, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(len(payload)))
	}
	return dst, nil
}

// appendTenant appends the tenant of a batch that has one.
func appendTenant(dst []byte, tenant *linkv1.Label) ([]byte, error) {
	if tenant == nil {
		return dst, nil
	}
	b, err := proto.Marshal(tenant)
	switch {
	case err != nil:
		return nil, fmt.Errorf("link: marshal the tenant of a batch: %w", err)
	case len(b) > maxTenant:
		return nil, fmt.Errorf("%w: a tenant of %d bytes", ErrFrameTooLarge, len(b))
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, fieldTenant, protowire.BytesType), b), nil
}

func appendVarintField(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

// progress is told how the reading of a frame proceeds.
type progress interface {
	// announced waits for the room that a frame of that size needs.
	announced(size int) error
	// step comes before each [progressStep] of a frame.
	step()
}

// readFrame reads the bytes of one frame, without its length, into a buffer that is the
// caller's if there is no error. A large frame gets its memory when the first
// [readStep] has arrived.
func readFrame(r *bufio.Reader, limit int, p progress) (*buffer.Buffer, error) {
	size, err := readLength(r, limit)
	if err != nil {
		return nil, err
	}
	if err := p.announced(size); err != nil {
		return nil, err
	}
	if size > r.Buffered() {
		p.step()
	}
	if size > readStep {
		if _, err := r.Peek(min(readStep, r.Size())); err != nil {
			return nil, unexpected(err)
		}
	}
	b := buffer.Get(size)
	b.Bytes = b.Bytes[:size]
	for have := 0; have < size; {
		if have > 0 {
			p.step()
		}
		n, err := io.ReadFull(r, b.Bytes[have:min(size, have+progressStep)])
		if err != nil {
			b.Release()
			return nil, unexpected(err)
		}
		have += n
	}
	return b, nil
}

func readLength(r io.ByteReader, limit int) (int, error) {
	var size uint64
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			if shift > 0 {
				err = unexpected(err)
			}
			return 0, err
		}
		size |= uint64(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 28 {
			return 0, junk("length of a frame is no varint of 32 bits")
		}
	}
	if size > uint64(limit) {
		return 0, &frameError{Reason: reasonSize, Err: fmt.Errorf("frame of %d bytes, limit is %d", size, limit)}
	}
	if size == 0 {
		return 0, junk("empty frame")
	}
	return int(size), nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseFrame parses the bytes of a frame. The payload of a batch or an append refers to
// them, everything else is copied, and small.
func parseFrame(b []byte) (*linkv1.Frame, int, error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 || tag>>3 >= kinds || tag&7 != uint64(protowire.BytesType) {
		return nil, 0, junk("frame of an unknown kind")
	}
	kind := int(tag >> 3)
	size, m := binary.Uvarint(b[n:])
	if m <= 0 || size != uint64(len(b)-n-m) {
		return nil, 0, junk("%s does not fill its frame", kindNames[kind])
	}
	var f *linkv1.Frame
	var err error
	switch message := b[n+m:]; {
	case kind == kindBatch:
		f, err = parseBatch(message)
	case kind == kindAppend:
		f, err = parseAppend(message)
	case len(b) > MaxSmall:
		return nil, 0, &frameError{Reason: reasonSize, Err: fmt.Errorf("%s of %d bytes, limit is %d", kindNames[kind], len(b), MaxSmall)}
	default:
		f = &linkv1.Frame{}
		err = proto.Unmarshal(b, f)
	}
	if err != nil {
		return nil, 0, junk("%s: %w", kindNames[kind], err)
	}
	return f, kind, nil
}

// parseBatch and parseAppend do what proto.Unmarshal does, but for unknown
// fields, which are dropped, and the payload, which is not copied.

func parseBatch(b []byte) (*linkv1.Frame, error) {
	// All that a frame consists of, in one piece.
	var parts struct {
		frame linkv1.Frame
		kind  linkv1.Frame_Batch
		batch linkv1.Batch
	}
	parts.frame.Kind, parts.kind.Batch = &parts.kind, &parts.batch
	err := scanFields(b, func(num protowire.Number, v uint64) {
		switch num {
		case 1:
			parts.batch.Id = v
		case 2:
			parts.batch.Schema = linkv1.Schema(v)
		}
	}, func(num protowire.Number, v []byte) error {
		switch {
		case num == 3:
			parts.batch.Body = v
		case num != fieldTenant:
		case len(v) > maxTenant:
			return fmt.Errorf("a tenant of %d bytes", len(v))
		default:
			if parts.batch.Tenant == nil {
				parts.batch.Tenant = &linkv1.Label{}
			}
			return proto.UnmarshalOptions{Merge: true}.Unmarshal(v, parts.batch.Tenant)
		}
		return nil
	})
	return &parts.frame, err
}

func parseAppend(b []byte) (*linkv1.Frame, error) {
	var parts struct {
		frame  linkv1.Frame
		kind   linkv1.Frame_Append
		append linkv1.SegmentAppend
	}
	parts.frame.Kind, parts.kind.Append = &parts.kind, &parts.append
	err := scanFields(b, func(num protowire.Number, v uint64) {
		if num == 1 {
			parts.append.Offset = v
		}
	}, func(num protowire.Number, v []byte) error {
		if num == 2 {
			parts.append.Data = v
		}
		return nil
	})
	return &parts.frame, err
}

// scanFields calls varint and bytes for every field of these types.
func scanFields(b []byte, varint func(protowire.Number, uint64), bytes func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if field > protowire.MaxValidNumber {
			return fmt.Errorf("field number %d", field)
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n >= 0 {
				varint(field, v)
			}
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n >= 0 {
				if err := bytes(field, v); err != nil {
					return err
				}
			}
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
	}
	return nil
}

// kindOf returns the kind of a frame, 0 if it has none.
func kindOf(f *linkv1.Frame) int {
	if field := f.ProtoReflect().WhichOneof(oneofKind); field != nil {
		return int(field.Number())
	}
	return 0
}
