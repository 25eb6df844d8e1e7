package snappyblock

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

func TestClaim(t *testing.T) {
	for _, test := range []struct {
		name  string
		block []byte
		claim uint64
		err   error
		holds bool
	}{
		{"nothing", nil, 0, ErrCorrupt, false},
		{"half a length", []byte{0x80}, 0, ErrCorrupt, false},
		{"no length", bytes.Repeat([]byte{0xff}, 20), 0, ErrCorrupt, false},
		{"a block of nothing", []byte{0}, 0, nil, true},
		{"a block", snappy.Encode(nil, make([]byte, 1<<20)), 1 << 20, nil, true},
		{"as much as a copy makes", []byte{64, 0xfe, 1, 0}, 64, nil, true},
		{"more than that", []byte{65, 0xfe, 1, 0}, 65, nil, false},
		{"4 GiB", []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0xfe, 1, 0}, 1<<32 - 1, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			claim, err := Claim(test.block)
			require.Equal(t, test.err, err)
			require.Equal(t, test.claim, claim)
			if err == nil {
				require.Equal(t, test.holds, Holds(test.block, claim))
			}
		})
	}
}

// FuzzDecode checks that what Prometheus decodes is decoded to the same bytes here, and
// is not refused before. A length of more than five bytes is left out: no encoder
// writes it, for the format ends at 32 bits, and it is refused here.
func FuzzDecode(f *testing.F) {
	f.Add(snappy.Encode(nil, bytes.Repeat([]byte("__name__"), 100)))
	f.Add([]byte("\x05\x00a\x0d\x01"))
	f.Add([]byte("\x80\x80\x04\xfe\x01\x00"))
	f.Fuzz(func(t *testing.T, block []byte) {
		if _, header := binary.Uvarint(block); header > binary.MaxVarintLen32 {
			return
		}
		if n, err := snappy.DecodedLen(block); err != nil || n > 1<<20 {
			return
		}
		want, err := snappy.Decode(nil, block)
		if err != nil {
			return
		}
		claim, err := Claim(block)
		require.NoError(t, err)
		require.EqualValues(t, len(want), claim)
		require.True(t, Holds(block, claim), "%d bytes become %d", len(block), claim)
		got, err := Decode(make([]byte, 0, claim), block)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	})
}
