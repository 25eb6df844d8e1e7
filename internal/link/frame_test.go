package link

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/tenant"
)

func batch(id uint64, body []byte) *linkv1.Frame {
	return &linkv1.Frame{Kind: &linkv1.Frame_Batch{Batch: &linkv1.Batch{
		Id: id, Schema: linkv1.Schema_SCHEMA_WRITE_V2, Body: body,
	}}}
}

// batchOf is a batch of a tenant.
func batchOf(label, name string, body []byte) *linkv1.Frame {
	f := batch(1, body)
	f.GetBatch().Tenant = &linkv1.Label{Name: label, Value: name}
	return f
}

func verdict(id uint64) *linkv1.Frame {
	return &linkv1.Frame{Kind: &linkv1.Frame_Verdict{Verdict: &linkv1.Verdict{
		Id: id, Code: linkv1.Code_CODE_OK, SamplesWritten: 7, Errors: []string{"ä", ""},
	}}}
}

// everyKind has one frame of each kind at least.
func everyKind() []*linkv1.Frame {
	frames := []*linkv1.Frame{
		{Kind: &linkv1.Frame_Hello{Hello: &linkv1.Hello{Version: 1, Role: linkv1.Role_ROLE_FORWARDER, Instance: "a", LogId: make([]byte, 16)}}},
		{Kind: &linkv1.Frame_Hello{Hello: &linkv1.Hello{Version: 1, Role: linkv1.Role_ROLE_RECEIVER, Placement: []byte("p"), Group: "g"}}},
		{Kind: &linkv1.Frame_Welcome{Welcome: &linkv1.Welcome{Version: 1, Position: &linkv1.Position{Sequence: 4}}}},
		{Kind: &linkv1.Frame_Segment{Segment: &linkv1.SegmentStart{Name: "x.seg", FirstSequence: 9}}},
		{Kind: &linkv1.Frame_Position{Position: &linkv1.Position{Sequence: 3, Checksum: 5}}},
		{Kind: &linkv1.Frame_Tail{Tail: &linkv1.Position{Sequence: 8}}},
		{Kind: &linkv1.Frame_Gap{Gap: &linkv1.Gap{AfterSequence: 1, NextSequence: 5}}},
		{Kind: &linkv1.Frame_Ping{Ping: &linkv1.Ping{Id: 1}}},
		{Kind: &linkv1.Frame_Pong{Pong: &linkv1.Pong{}}},
		{Kind: &linkv1.Frame_Goodbye{Goodbye: goodbye("so long")}},
		{Kind: &linkv1.Frame_Goodbye{Goodbye: &linkv1.Goodbye{Reason: "r", Code: linkv1.GoodbyeCode_GOODBYE_CODE_PLACEMENT}}},
		verdict(3),
	}
	for _, size := range []int{0, 1, 127, 128, 200, 1 << 14, 1 << 16, 1<<21 + 1} {
		data := bytes.Repeat([]byte{'x'}, size)
		for _, n := range []uint64{0, 1, 1 << 40, math.MaxUint64} {
			frames = append(frames, batch(n, data), batchOf("team", strings.Repeat("a", size%tenant.MaxBytes), data),
				&linkv1.Frame{Kind: &linkv1.Frame_Append{Append: &linkv1.SegmentAppend{Offset: n, Data: data}}})
		}
	}
	return append(frames,
		batchOf("", "", nil),
		&linkv1.Frame{Kind: &linkv1.Frame_Batch{Batch: &linkv1.Batch{}}},
		&linkv1.Frame{Kind: &linkv1.Frame_Batch{}},
		&linkv1.Frame{Kind: &linkv1.Frame_Append{Append: &linkv1.SegmentAppend{}}})
}

// free is the progress of a reader that nothing holds back.
type free struct{}

func (free) announced(int) error { return nil }
func (free) step()               {}

func encode(t testing.TB, f *linkv1.Frame) []byte {
	t.Helper()
	head, payload, _, err := appendFrame(nil, f, DefaultMaxFrame)
	require.NoError(t, err)
	return append(head, payload...)
}

func TestFrameIsWhatProtobufMakesOfIt(t *testing.T) {
	for _, f := range everyKind() {
		want, err := proto.Marshal(f)
		require.NoError(t, err)
		want = append(protowire.AppendVarint(nil, uint64(len(want))), want...)
		got := encode(t, f)
		if f.GetBatch().GetTenant() == nil {
			require.True(t, bytes.Equal(want, got), "%T", f.GetKind())
		} else { // The order is another.
			require.Len(t, got, len(want))
		}

		b, err := readFrame(bufio.NewReader(bytes.NewReader(got)), DefaultMaxFrame, free{})
		require.NoError(t, err)
		back, kind, err := parseFrame(b.Bytes)
		require.NoError(t, err)
		require.Equal(t, kindOf(f), kind)
		require.True(t, proto.Equal(f, back) || len(got) < 8, "%T", f.GetKind())
		b.Release()
	}
}

func TestPayloadIsNotCopied(t *testing.T) {
	body := []byte("body")
	_, payload, kind, err := appendFrame(nil, batch(1, body), DefaultMaxFrame)
	require.NoError(t, err)
	require.Equal(t, kindBatch, kind)
	require.Same(t, &body[0], &payload[0])
}

// TestTenants checks that the largest tenant has room beside the largest body, and that
// a larger one is neither sent nor taken.
func TestTenants(t *testing.T) {
	label, name := strings.Repeat("l", tenant.MaxLabelBytes), strings.Repeat("t", tenant.MaxBytes)
	_, _, _, err := appendFrame(nil, batchOf(label, name, make([]byte, 1<<20)), 1<<20+FrameRoom)
	require.NoError(t, err)
	_, _, _, err = appendFrame(nil, batchOf(label, strings.Repeat("t", maxTenant), nil), DefaultMaxFrame)
	require.ErrorIs(t, err, ErrFrameTooLarge)
	_, _, _, err = appendFrame(nil, batchOf(label, "\xff", nil), DefaultMaxFrame)
	require.Error(t, err)
	for _, value := range []string{strings.Repeat("t", maxTenant), "\xff"} {
		message := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), value)
		message = protowire.AppendBytes(protowire.AppendTag(nil, fieldTenant, protowire.BytesType), message)
		_, _, err = parseFrame(protowire.AppendBytes([]byte{kindBatch<<3 | 2}, message))
		var refused *frameError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, reasonJunk, refused.Reason)
	}
}

func TestFrameOverLimitIsNotSent(t *testing.T) {
	for name, f := range map[string]*linkv1.Frame{
		"batch":   batch(1, make([]byte, 1000)),
		"append":  {Kind: &linkv1.Frame_Append{Append: &linkv1.SegmentAppend{Data: make([]byte, 1000)}}},
		"goodbye": {Kind: &linkv1.Frame_Goodbye{Goodbye: goodbye(string(make([]byte, 1000)))}},
	} {
		t.Run(name, func(t *testing.T) {
			dst := []byte("before")
			head, _, _, err := appendFrame(dst, f, 1000)
			require.ErrorIs(t, err, ErrFrameTooLarge)
			require.Equal(t, "before", string(head[:6]))
			_, _, _, err = appendFrame(dst, f, 1040)
			require.NoError(t, err)
		})
	}
	_, _, _, err := appendFrame(nil, &linkv1.Frame{}, 1000)
	require.Error(t, err)
}

// verdictOf is a frame of that kind with a message of size bytes.
func verdictOf(size int) []byte {
	b := protowire.AppendTag(nil, protowire.Number(kindOf(&linkv1.Frame{Kind: &linkv1.Frame_Verdict{}})), protowire.BytesType)
	b = protowire.AppendBytes(b, make([]byte, size))
	return append(protowire.AppendVarint(nil, uint64(len(b))), b...)
}

func TestReadFrameRefuses(t *testing.T) {
	good := encode(t, batch(5, []byte("0123456789")))
	cases := map[string]struct {
		in     []byte
		reason string
	}{
		"empty frame":          {[]byte{0}, reasonJunk},
		"long varint":          {bytes.Repeat([]byte{0xff}, 12), reasonJunk},
		"http":                 {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + string(make([]byte, 100))), reasonJunk},
		"over the limit":       {protowire.AppendVarint(nil, DefaultMaxFrame+1), reasonSize},
		"unknown kind":         {[]byte{2, kinds<<3 | 2, 0}, reasonJunk},
		"kind zero":            {[]byte{2, 2, 0}, reasonJunk},
		"kind not a message":   {[]byte{2, 3 << 3, 1}, reasonJunk},
		"two kinds":            {[]byte{4, 10<<3 | 2, 0, 11<<3 | 2, 0}, reasonJunk},
		"message too short":    {[]byte{3, 10<<3 | 2, 2, 0}, reasonJunk},
		"message broken":       {[]byte{3, 10<<3 | 2, 1, 8}, reasonJunk},
		"strings not utf-8":    {[]byte{5, 12<<3 | 2, 3, 1<<3 | 2, 1, 0xff}, reasonJunk},
		"verdict as a bomb":    {verdictOf(MaxSmall + 1), reasonSize},
		"length without frame": {good[:1], ""},
		"half a frame":         {good[:7], ""},
		"half a length":        {[]byte{0x80}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b, err := readFrame(bufio.NewReader(bytes.NewReader(c.in)), DefaultMaxFrame, free{})
			if err == nil {
				_, _, err = parseFrame(b.Bytes)
			}
			if c.reason == "" {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				return
			}
			var frame *frameError
			require.ErrorAs(t, err, &frame)
			require.Equal(t, c.reason, frame.Reason)
		})
	}
	_, err := readFrame(bufio.NewReader(bytes.NewReader(nil)), 10, free{})
	require.Equal(t, io.EOF, err)
}

// TestAnnouncedLengthTakesNoMemory checks that a frame gets no memory for what is
// not there before its first step is.
func TestAnnouncedLengthTakesNoMemory(t *testing.T) {
	claim := append(protowire.AppendVarint(nil, DefaultMaxFrame), make([]byte, readStep-1)...)
	r := bufio.NewReaderSize(bytes.NewReader(claim), readStep)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readFrame(r, DefaultMaxFrame, free{})
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(readStep))
}

func FuzzReadFrame(f *testing.F) {
	for _, frame := range everyKind() {
		if b := encode(f, frame); len(b) < 1<<12 {
			f.Add(b)
		}
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		for {
			b, err := readFrame(r, 1<<16, free{})
			if err != nil {
				return
			}
			frame, kind, err := parseFrame(b.Bytes)
			if err != nil {
				var fe *frameError
				if !errors.As(err, &fe) {
					t.Fatalf("%T is no frameError", err)
				}
				return
			}
			if kindOf(frame) != kind {
				t.Fatalf("kind %d parsed as %d", kind, kindOf(frame))
			}
			if _, _, _, err := appendFrame(nil, frame, DefaultMaxFrame); err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
	})
}

// FuzzParseFrame compares what is made of a frame's bytes with what protobuf
// makes of them, but for unknown fields.
func FuzzParseFrame(f *testing.F) {
	for _, frame := range everyKind() {
		b, err := proto.Marshal(frame)
		require.NoError(f, err)
		if len(b) < 1<<12 {
			f.Add(b)
		}
	}
	for _, message := range []string{
		"\x1a\x01b\x08\x01\x1a\x01c",                   // body, id, body again
		"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // largest varint
		"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", // over the largest
		"\x09\x00\x00\x00\x00\x00\x00\x00\x00",         // field 1 of another type
		"\x18\x05\x12\x01x",                            // fields 3 and 2 of another type
		"\x2b\x08\x01\x2c\x7a\x02ab",                   // unknown: a group, and bytes
		"\x22\x03\x0a\x01n\x1a\x01c\x22\x03\x12\x01v",  // tenant, body, tenant again
		"\x24", "\x00", "\xf8\xff\xff\xff\x7f\x00", // end of no group, field number 0, one too high
	} {
		f.Add(append([]byte{kindBatch<<3 | 2, byte(len(message))}, message...))
		f.Add(append([]byte{kindAppend<<3 | 2, byte(len(message))}, message...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, _, err := parseFrame(in)
		want := &linkv1.Frame{}
		if wantErr := proto.Unmarshal(in, want); wantErr != nil {
			require.Error(t, err, "protobuf says: %v", wantErr)
			return
		}
		if err != nil {
			// Only what is no frame of one kind, which protobuf takes.
			_, _, n := protowire.ConsumeField(in)
			require.True(t, n != len(in) || kindOf(want) == 0 || len(in) > MaxSmall || bytes.Contains(in, []byte{fieldTenant<<3 | 2}) && len(in) > maxTenant, "%v", err)
			return
		}
		clearUnknown(want.ProtoReflect())
		clearUnknown(got.ProtoReflect())
		require.True(t, proto.Equal(want, got), "%v\n%v", want, got)
	})
}

// clearUnknown drops unknown fields of a message and of those in it.
func clearUnknown(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if field.Message() != nil && !field.IsList() {
			clearUnknown(v.Message())
		}
		return true
	})
}
