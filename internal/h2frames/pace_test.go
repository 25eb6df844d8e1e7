package h2frames

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

func TestPacer(t *testing.T) {
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
		p := pacer{rate: begun}
		n := 0
		for b := wire.Bytes(); len(b) > 0; {
			some := 1 + rand.IntN(min(most, len(b)))
			n += p.count(b[:some])
			b = b[some:]
		}
		require.Equal(t, begun, n, "in pieces of up to %d bytes", most)
	}

	p := pacer{rate: begun}
	at := time.Now()
	require.Zero(t, p.delay(wire.Bytes(), at), "as many as come in a second may come at once")
	require.Equal(t, time.Second, p.delay(wire.Bytes(), at))
	require.Equal(t, 2*time.Second, p.delay(wire.Bytes(), at))
	require.Zero(t, p.delay(nil, at))
	require.Zero(t, p.delay(wire.Bytes(), at.Add(time.Hour)))
}
