package rpc

import (
	"bytes"
	"io"
	"testing"

	"connectrpc.com/connect"
	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/refusal"
)

// What is larger than a request may be is not inflated in order to count it.
func TestGzipReaderStopsAtTheLimit(t *testing.T) {
	s := &Service{Config: Config{RequestBytes: 1 << 20}, Shared: Shared{Refusals: refusal.New()}}
	most := int(s.RequestBytes)
	inflate := func(size int) (read, left int, err error) {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err = w.Write(make([]byte, size))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		g := s.newGzipReader()
		require.NoError(t, g.Reset(&packed))
		n, err := io.Copy(io.Discard, g)
		require.NoError(t, g.Close())
		return int(n), packed.Len(), err
	}
	read, _, err := inflate(most)
	require.NoError(t, err)
	require.Equal(t, most, read)
	for _, size := range []int{most + 1, 100 * most} {
		read, left, err := inflate(size)
		require.Equal(t, connect.CodeResourceExhausted, connect.CodeOf(err))
		require.ErrorContains(t, err, FlagRequestBytes)
		require.LessOrEqual(t, read, most+1)
		require.Equal(t, size > 2*most, left > 0, "most of a bomb is not even read")
	}
}
