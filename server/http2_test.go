package server_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

// A client that accepts frames of some size, and opens its windows bit by bit, gets all
// it asked for in frames that are no larger, on several streams at a time.
func TestFramesThatAClientTakes(t *testing.T) {
	const series, standard = 2000, 16 << 10
	src := newSource(t)
	src.append(tenLabels(0, series))
	s := startFed(t, testConfig(t), src)
	for _, test := range []struct {
		name     string
		settings []http2.Setting
		largest  uint32
		credit   uint32
	}{
		{"no settings", nil, standard, 1000},
		{"other settings", []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1 << 20}}, standard, 100_000},
		{"the standard size", []http2.Setting{{ID: http2.SettingMaxFrameSize, Val: standard}}, standard, 16_384},
		{"larger", []http2.Setting{{ID: http2.SettingMaxFrameSize, Val: 20_000}}, 20_000, 70_000},
		{"much larger", []http2.Setting{{ID: http2.SettingMaxFrameSize, Val: 1 << 20}}, 1 << 20, 1 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.RPCAddr().String())
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
			_, err = conn.Write([]byte(http2.ClientPreface))
			require.NoError(t, err)
			f := http2.NewFramer(conn, conn)
			f.SetMaxReadFrameSize(test.largest)
			require.NoError(t, f.WriteSettings(test.settings...))
			streams := map[uint32]*bytes.Buffer{1: {}, 3: {}}
			ask(t, f, 1)
			ask(t, f, 3)
			largest := 0
			for open := len(streams); open > 0; {
				frame, err := f.ReadFrame()
				require.NoError(t, err)
				switch frame := frame.(type) {
				case *http2.SettingsFrame:
					if !frame.IsAck() {
						require.NoError(t, f.WriteSettingsAck())
					}
				case *http2.DataFrame:
					id, n := frame.StreamID, uint32(len(frame.Data()))
					streams[id].Write(frame.Data())
					largest = max(largest, int(n))
					for n > 0 {
						some := min(n, test.credit)
						require.NoError(t, f.WriteWindowUpdate(0, some))
						require.NoError(t, f.WriteWindowUpdate(id, some))
						n -= some
					}
				case *http2.HeadersFrame:
					if frame.StreamEnded() {
						open--
					}
				case *http2.RSTStreamFrame, *http2.GoAwayFrame:
					t.Fatal(frame)
				}
			}
			require.Equal(t, test.largest > standard, largest > standard)
			for _, body := range streams {
				require.Equal(t, series, seriesIn(t, body.Bytes()))
			}
		})
	}
}

// ask calls GetMetrics for everything, on a stream.
func ask(t *testing.T, f *http2.Framer, stream uint32) {
	var headers bytes.Buffer
	e := hpack.NewEncoder(&headers)
	for _, h := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "test"},
		{Name: ":path", Value: metricsv1grpc.MetricsService_GetMetrics_FullMethodName},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	} {
		require.NoError(t, e.WriteField(h))
	}
	require.NoError(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: headers.Bytes(), EndHeaders: true}))
	require.NoError(t, f.WriteData(stream, true, make([]byte, 5)))
}

// seriesIn counts the series in the responses of a whole stream.
func seriesIn(t *testing.T, body []byte) (n int) {
	last := &getResponse{}
	for len(body) > 0 {
		require.GreaterOrEqual(t, len(body), 5)
		size := int(binary.BigEndian.Uint32(body[1:]))
		require.GreaterOrEqual(t, len(body), 5+size)
		last = &getResponse{}
		require.NoError(t, proto.Unmarshal(body[5:5+size], last))
		n += len(last.GetTimeseries())
		body = body[5+size:]
	}
	require.NotNil(t, last.GetEnd())
	return n
}
