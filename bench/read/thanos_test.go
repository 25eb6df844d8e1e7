package read

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestThanosSeries(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var method string
	var request []byte
	s := grpc.NewServer(grpc.ForceServerCodecV2(Codec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ = grpc.MethodFromServerStream(stream)
		var m Raw
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		request = m.Data.Materialize()
		m.Data.Free()
		warning := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "not a series")
		series := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), make([]byte, 1000))
		for _, response := range [][]byte{series, warning, series, series} {
			if err := stream.SendMsg(response); err != nil {
				return err
			}
		}
		return nil
	}))
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)

	r, err := ThanosSeries(t.Context(), Server{Address: l.Addr().String()}, time.UnixMilli(5))
	require.NoError(t, err)
	require.Equal(t, 3, r.Series)
	require.Greater(t, r.Bytes, int64(3000))
	require.Equal(t, storeSeries, method)
	require.Equal(t, []byte{1<<3 | byte(protowire.VarintType), 5}, request[:2])
	require.NoError(t, each(request, 3, func(matcher []byte) error {
		require.Equal(t, append([]byte{0x08, 1, 0x12, 8}, "__name__"...), matcher)
		return nil
	}))
}
