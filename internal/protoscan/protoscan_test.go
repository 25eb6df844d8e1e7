package protoscan

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// FuzzRead compares fields with what protobuf's own reader makes of them.
func FuzzRead(f *testing.F) {
	f.Add([]byte("\x0a\x02ab\x10\x05\x19\x00\x01\x02\x03\x04\x05\x06\x07\x25\x00\x01\x02\x03"))
	f.Add([]byte("\x0b\x12\x01x\x0c\x08\x01"))
	f.Add([]byte("\x8a\x00\x82\x80\x00ab"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for i := 0; i < len(in); {
			got, ok := Read(in, i)
			number, kind, n := protowire.ConsumeTag(in[i:])
			size := -1
			if n > 0 {
				size = protowire.ConsumeFieldValue(number, kind, in[i+n:])
			}
			if !ok {
				return // It may refuse what others read: a varint that does not fit, or groups that do not match.
			}
			require.Greater(t, got.Next, i)
			if size < 0 || got.Wire == TypeStart {
				return
			}
			require.Equal(t, int32(number), got.Number)
			require.Equal(t, i+n+size, got.Next)
			if kind == protowire.BytesType {
				want, _ := protowire.ConsumeBytes(in[i+n:])
				require.True(t, bytes.Equal(want, got.Bytes))
			}
			if at, end := Short(in, i, byte(number<<3|TypeBytes)); end > 0 && number < 16 {
				require.Equal(t, got.Next, end)
				require.True(t, bytes.Equal(got.Bytes, in[at:end]))
			}
			i = got.Next
		}
	})
}

func TestPair(t *testing.T) {
	for in, want := range map[string][2]string{
		"\x0a\x01a\x12\x02bc":                {"a", "bc"},
		"\x12\x02bc\x0a\x01a":                {"a", "bc"},
		"\x0a\x01x\x0a\x01a\x12\x00":         {"a", ""},
		"\x0a\x01a\x12\x01b\x18\x05":         {"a", "b"},
		"\x0a\x81\x00a\x12\x82\x80\x00bc":    {"a", "bc"},
		"":                                   {"", ""},
		"\x0a\x01a":                          {"a", ""},
		"\x0a\x01a\x12\x02bc\x12\x01d":       {"a", "d"},
		"\x1b\x0a\x01x\x1c\x0a\x01a\x12\x00": {"a", ""},
	} {
		name, value, ok := Pair([]byte(in))
		require.True(t, ok, "%q", in)
		require.Equal(t, want, [2]string{string(name), string(value)}, "%q", in)
	}
	for _, in := range []string{"\x08\x01", "\x0a\x05a", "\x0a", "\x0a\x01a\x12\x02b", "\x00\x01"} {
		_, _, ok := Pair([]byte(in))
		require.False(t, ok, "%q", in)
	}
}
