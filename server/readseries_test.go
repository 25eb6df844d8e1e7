package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1grpc"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/stored"
)

func (p *protocol) readSeries(t testing.TB, ctx context.Context, address string, req *queryv1.ReadSeriesRequest) func() (*queryv1.ReadSeriesResponse, error) {
	if p.options == nil {
		return receiveGRPC(t, address, func(conn *grpc.ClientConn) (grpc.ServerStreamingClient[queryv1.ReadSeriesResponse], error) {
			return queryv1grpc.NewQueryServiceClient(conn).ReadSeries(ctx, req)
		})
	}
	return receiveConnect(t, p.h2, func(client *http.Client) (*connect.ServerStreamForClient[queryv1.ReadSeriesResponse], error) {
		return queryv1connect.NewQueryServiceClient(client, "http://"+address, p.options...).ReadSeries(ctx, connect.NewRequest(req))
	})
}

func (p *protocol) followTime(t testing.TB, ctx context.Context, address string) func() (*queryv1.FollowTimeResponse, error) {
	req := &queryv1.FollowTimeRequest{}
	if p.options == nil {
		return receiveGRPC(t, address, func(conn *grpc.ClientConn) (grpc.ServerStreamingClient[queryv1.FollowTimeResponse], error) {
			return queryv1grpc.NewQueryServiceClient(conn).FollowTime(ctx, req)
		})
	}
	return receiveConnect(t, p.h2, func(client *http.Client) (*connect.ServerStreamForClient[queryv1.FollowTimeResponse], error) {
		return queryv1connect.NewQueryServiceClient(client, "http://"+address, p.options...).FollowTime(ctx, connect.NewRequest(req))
	})
}

// read returns what a call of ReadSeries brings.
func (p *protocol) read(t testing.TB, s *instance, req *queryv1.ReadSeriesRequest) (*stored.Decoder, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	receive := p.readSeries(t, ctx, s.RPCAddr().String(), req)
	var d stored.Decoder
	for {
		m, err := receive()
		if errors.Is(err, io.EOF) {
			require.True(t, d.Ended)
			return &d, nil
		}
		if err != nil {
			return nil, err
		}
		wire, err := proto.Marshal(m)
		require.NoError(t, err)
		_, err = d.Response(wire)
		require.NoError(t, err)
	}
}

// linesOf are the samples of series, with when they arrived.
func linesOf(t testing.TB, all []*samples.Series, before int64) (lines []string) {
	var it samples.Iterator
	for _, s := range all {
		it.Reset(s.Parts, before)
		for kind := it.Next(); kind != 0; kind = it.Next() {
			at, v := it.At()
			lines = append(lines, fmt.Sprintf("%s %d %v %d", s.Labels, at-t0, v, it.Arrival()-t0))
		}
		require.NoError(t, it.Err())
	}
	return lines
}

// Series are read as they are kept: sorted, of all logs, with the samples that are asked
// for, and when each of them arrived.
func TestReadSeries(t *testing.T) {
	first, other := newSourceAt(t, t0), newSourceAt(t, t0)
	first.writeAt(t0+2*second, point{series: `m{i="b"}`, t: t0 + second, v: 1}, point{series: `m{i="a"}`, t: t0, v: 2})
	other.writeAt(t0+2*second, point{series: `m{i="b"}`, t: t0 + 2*second, v: 3}, point{series: `n`, t: t0, v: 4})
	first.tickAt(t0 + 10*second)
	other.tickAt(t0 + 10*second)
	s := startFed(t, testConfig(t), first, other)
	overAll(t, func(t *testing.T, p protocol) {
		got, err := p.read(t, s, &queryv1.ReadSeriesRequest{Selectors: []string{"m"}, MinTime: t0, MaxTime: t0 + second})
		require.NoError(t, err)
		require.Equal(t, []string{
			`{__name__="m", i="a"} 0 2 2000`, `{__name__="m", i="b"} 1000 1 2000`,
		}, linesOf(t, got.Series, chunk.All))
		require.Empty(t, linesOf(t, got.Series, t0+second))
		got, err = p.read(t, s, &queryv1.ReadSeriesRequest{MinTime: t0, MaxTime: t0 + 10*second, Reached: new(t0 + 5*second)})
		require.NoError(t, err)
		require.Len(t, linesOf(t, got.Series, chunk.All), 4)
		got, err = p.read(t, s, &queryv1.ReadSeriesRequest{
			Selectors: []string{`m{i="b"}`, "n", "absent"}, MinTime: t0, MaxTime: t0 + 10*second, Content: queryv1.ReadSeriesRequest_CONTENT_LABELS,
		})
		require.NoError(t, err)
		require.Len(t, got.Series, 2)
		require.Equal(t, `{__name__="n"}`, got.Series[1].Labels.String())
		require.Empty(t, got.Series[1].Parts)
	})
}

func TestReadExemplars(t *testing.T) {
	src := newSourceAt(t, t0)
	data, err := proto.Marshal(&metricsv1.Exemplar{Labels: []*metricsv1.Label{{Name: "trace", Value: "x"}}, Value: 7, Timestamp: t0})
	require.NoError(t, err)
	src.writeAt(t0+second, point{series: "m", t: t0, v: 1}, point{series: "m", exemplar: data}, point{series: "n", t: t0, v: 1})
	s := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		got, err := p.read(t, s, &queryv1.ReadSeriesRequest{MinTime: t0, MaxTime: t0, Content: queryv1.ReadSeriesRequest_CONTENT_EXEMPLARS})
		require.NoError(t, err)
		require.Len(t, got.Exemplars, 1)
		require.Equal(t, `{__name__="m"}`, got.Exemplars[0].Labels.String())
		require.Len(t, got.Exemplars[0].Exemplars, 1)
		require.Equal(t, 7.0, got.Exemplars[0].Exemplars[0].Value)
	})
}

// What cannot be read is refused with a reason: selectors that do not parse, a time that
// the logs do not come to, more than there is memory for.
func TestReadSeriesRefused(t *testing.T) {
	src := newSourceAt(t, t0)
	c := testConfig(t)
	c.CursorWait, c.Engine.Bytes = 50*time.Millisecond, 1000
	for i := range 100 {
		src.writeAt(t0+second, point{series: fmt.Sprintf(`m{i="%d"}`, i), t: t0, v: 1})
	}
	s := startFed(t, c, src)
	for _, test := range []struct {
		req  *queryv1.ReadSeriesRequest
		code connect.Code
		text string
	}{
		{&queryv1.ReadSeriesRequest{Selectors: []string{"m{"}}, connect.CodeInvalidArgument, "selectors: "},
		{&queryv1.ReadSeriesRequest{Selectors: []string{"rate(m[5m])"}}, connect.CodeInvalidArgument, "selectors: "},
		{&queryv1.ReadSeriesRequest{Reached: new(t0 + 3600*second)}, connect.CodeUnavailable, "have not come"},
		{&queryv1.ReadSeriesRequest{Selectors: []string{"m"}, MaxTime: t0}, connect.CodeResourceExhausted, "--limit.query-bytes"},
		{&queryv1.ReadSeriesRequest{MinTime: 1}, connect.CodeInvalidArgument, "max_time"},
	} {
		_, err := protocols[1].read(t, s, test.req)
		require.Equal(t, test.code, connect.CodeOf(err), "%v: %v", test.req, err)
		require.ErrorContains(t, err, test.text)
	}
}

// The time comes at once, as it changes, and each second though it does not.
func TestFollowTime(t *testing.T) {
	src := newSourceAt(t, t0)
	src.tickAt(t0)
	s := startFed(t, testConfig(t), src)
	now := t0
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		receive := p.followTime(t, ctx, s.RPCAddr().String())
		until := func(ms int64) {
			for {
				m, err := receive()
				require.NoError(t, err)
				if m.Time != nil {
					require.LessOrEqual(t, m.GetTime(), ms)
				}
				if m.Time != nil && m.GetTime() == ms {
					require.Equal(t, t0, m.GetBegan())
					require.Nil(t, m.Lost)
					return
				}
			}
		}
		until(now)
		until(now)
		now += second
		src.tickAt(now)
		until(now)
	})
}
