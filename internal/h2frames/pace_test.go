package h2frames

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

func TestOpenings(t *testing.T) {
	var wire bytes.Buffer
	f := http2.NewFramer(&wire, nil)
	const begun = 50
	for i := range uint32(begun) {
		require.NoError(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: make([]byte, i), EndHeaders: true}))
		require.NoError(t, f.WriteData(2*i+1, true, bytes.Repeat([]byte{byte(http2.FrameHeaders)}, int(10*i))))
		require.NoError(t, f.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
		require.NoError(t, f.WriteWindowUpdate(0, 1))
	}
	for _, most := range []int{1, 2, 8, 9, 10, 1000, wire.Len()} {
		o := openings{rate: begun}
		n := 0
		for b := wire.Bytes(); len(b) > 0; {
			some := 1 + rand.IntN(min(most, len(b)))
			n += o.count(b[:some])
			b = b[some:]
		}
		require.Equal(t, begun, n, "in pieces of up to %d bytes", most)
	}

	o := openings{rate: begun}
	at := time.Now()
	require.Zero(t, o.wait(wire.Bytes(), at), "as many as come in a second may come at once")
	require.Equal(t, time.Second, o.wait(wire.Bytes(), at))
	require.Equal(t, 2*time.Second, o.wait(wire.Bytes(), at))
	require.Zero(t, o.wait(nil, at))
	require.Zero(t, o.wait(wire.Bytes(), at.Add(time.Hour)))
}
