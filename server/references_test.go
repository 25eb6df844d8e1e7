package server_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
)

// restoring replaces label references by what they stand for, and counts the label sets
// that a stream carried.
func restoring(t testing.TB, recv receiver) (restored receiver, carried *int) {
	table, carried := make(map[uint64][]*metricsv1.Label), new(int)
	return func() (*getResponse, error) {
		r, err := recv()
		if r.GetForgetReferences() {
			clear(table)
		}
		for _, ts := range r.GetTimeseries() {
			known, ok := table[ts.GetRef()]
			if ts.GetRef() == 0 || ok == (len(ts.GetLabels()) > 0) {
				require.Fail(t, "labels have to come with a reference, once", "%v", ts)
			}
			if !ok {
				known = ts.GetLabels()
				table[ts.GetRef()] = known
				*carried++
			}
			ts.Labels, ts.Ref = known, 0
		}
		return r, err
	}, carried
}

// A stream with references says the same as one without, broken off and resumed
// anywhere, over every protocol, and of two logs.
func TestReferencesStandForLabels(t *testing.T) {
	one, two := newSource(t), newSource(t)
	at := now()
	history(t, one, at)
	two.write(point{series: name(1), t: at + 10, v: 7}, point{series: "other", t: at, v: 8})
	s := startFed(t, testConfig(t), one, two)
	for title, req := range map[string]*getRequest{
		"replay":   {Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}, Selectors: []string{`{i=~".*1"}`, "other"}},
		"snapshot": {Selectors: []string{`{i=~".*[12]"}`, "other"}},
	} {
		t.Run(title, func(t *testing.T) {
			overAll(t, func(t *testing.T, p protocol) {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				want := lines(all(t, s.call(t, req))...)
				recv, _ := restoring(t, p.open(t, ctx, s.RPCAddr().String(), request(true, req)))
				whole := all(t, recv)
				require.Equal(t, want, lines(whole...))
				for i := 0; i < len(whole); i += 1 + len(whole)/3 {
					if whole[i].GetCursor() == "" {
						continue
					}
					resumed := request(true, req)
					resumed.Start = after(whole[i].GetCursor())
					recv, _ := restoring(t, p.open(t, ctx, s.RPCAddr().String(), resumed))
					require.Equal(t, want, append(lines(whole[:i+1]...), lines(all(t, recv)...)...))
				}
			})
		})
	}
}

// A follower's bytes a sample fall to a tenth.
func TestReferencesSaveBytes(t *testing.T) {
	const series, blocks = 1000, 5
	src := newSource(t)
	src.append(tenLabels(0, series))
	s := startFed(t, testConfig(t), src)
	refs := make([]uint64, series)
	for i := range refs {
		refs[i] = uint64(i + 1)
	}
	streams := []receiver{s.call(t, &getRequest{Follow: true}), s.call(t, request(true, &getRequest{Follow: true}))}
	for _, recv := range streams {
		until(t, recv, isSynced)
	}
	for i := range blocks {
		src.append(floats(refs, now(), float64(i)))
	}
	var bytes [2]int
	for i, recv := range streams {
		samples := 0
		until(t, recv, func(r *getResponse) bool {
			bytes[i] += proto.Size(r)
			samples += len(r.GetTimeseries())
			return samples == series*blocks
		})
		t.Logf("%.1f bytes a sample", float64(bytes[i])/series/blocks)
	}
	require.Greater(t, bytes[0], 10*bytes[1])
}

// Conflated streams have references too.
func TestReferencesWithMinInterval(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 0})
	s := startFed(t, testConfig(t), src)
	recv, carried := restoring(t, s.call(t, request(true, &getRequest{Follow: true, MinInterval: durationpb.New(50 * time.Millisecond)})))
	until(t, recv, isSynced)
	for i := range 3 {
		src.write(point{series: "a", t: int64(i + 2), v: 1})
		until(t, recv, func(r *getResponse) bool { return len(lines(r)) > 0 })
	}
	require.Equal(t, 1, *carried)
}

// When most references belong to series that are gone, the client forgets all of them.
func TestReferencesAreForgotten(t *testing.T) {
	src := newSource(t)
	src.append(tenLabels(0, 20000))
	s := startFed(t, testConfig(t), src)
	plain := s.call(t, request(true, &getRequest{Follow: true}))
	forgot := false
	recv, _ := restoring(t, func() (*getResponse, error) {
		r, err := plain()
		forgot = forgot || r.GetForgetReferences()
		return r, err
	})
	until(t, recv, isSynced)
	require.False(t, forgot)
	src.head.Expire(now()+1000, nil)
	src.rotate()
	src.write(point{series: "a", t: 1, v: 1})
	require.Equal(t, []string{"a 1 @1"}, lines(until(t, recv, func(r *getResponse) bool { return len(lines(r)) > 0 })...))
	src.write(point{series: "a", t: 2, v: 2})
	require.Equal(t, []string{"a 2 @2"}, lines(until(t, recv, func(r *getResponse) bool { return len(lines(r)) > 0 })...))
	require.True(t, forgot)
}

// The references of streams with one stride and parts of their own are apart, and those of
// each say the same as without.
func TestReferencesOfParts(t *testing.T) {
	one, two := newSource(t), newSource(t)
	one.write(point{series: "a", t: 1, v: 1}, point{series: "b", t: 1, v: 2})
	two.write(point{series: "c", t: 1, v: 3})
	s := startFed(t, testConfig(t), one, two)
	want := lines(all(t, s.call(t, &getRequest{}))...)
	const stride = 7
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for part := range uint32(stride) {
			req := request(true, &getRequest{})
			req.ReferenceStride, req.ReferencePart = stride, part
			plain := p.open(t, ctx, s.RPCAddr().String(), req)
			recv, _ := restoring(t, func() (*getResponse, error) {
				r, err := plain()
				for _, ts := range r.GetTimeseries() {
					require.EqualValues(t, part, ts.GetRef()%stride)
				}
				return r, err
			})
			require.Equal(t, want, lines(all(t, recv)...))
		}
	})
}

// A cursor without positions gets all logs from their oldest block on, and since the time
// that it has.
func TestCursorOfTheBeginning(t *testing.T) {
	one, two := newSource(t), newSource(t)
	for i := range int64(3) {
		one.write(point{series: "a", t: i, v: float64(i)})
		two.write(point{series: "b", t: i, v: float64(i)})
	}
	s := startFed(t, testConfig(t), one, two)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for since, want := range map[int64][]string{
			0: {"a 0 @0", "a 1 @1", "a 2 @2", "b 0 @0", "b 1 @1", "b 2 @2"},
			2: {"a 2 @2", "b 2 @2"},
		} {
			at := cursor.Cursor{Since: &since}
			if since == 0 {
				at.Since = nil
			}
			recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(at.String())})
			require.ElementsMatch(t, want, lines(all(t, recv)...))
		}
	})
}
