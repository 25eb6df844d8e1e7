package receiver

import (
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

// FuzzCheckSnappy looks for bodies that snappy can decode and that are refused
// at the door, and for ones that are let in above the limit.
func FuzzCheckSnappy(f *testing.F) {
	f.Add(snappy.Encode(nil, []byte("remote write")))
	f.Add(snappy.Encode(nil, make([]byte, 1000)))
	f.Add(framedMagic)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0xfe, 1, 0})
	f.Add([]byte{})
	c := DefaultConfig()
	c.DecodedBytes = 1 << 16
	h := &handler{config: c, metrics: newMetrics(nil)}
	f.Fuzz(func(t *testing.T, body []byte) {
		refused := h.checkSnappy(body)
		n, err := snappy.DecodedLen(body)
		if err == nil && n > int(c.DecodedBytes) {
			require.Error(t, refused)
			return
		}
		if _, err := snappy.Decode(nil, body); err == nil {
			require.NoError(t, refused)
		}
	})
}
