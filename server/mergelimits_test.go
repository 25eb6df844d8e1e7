package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server"
)

// Each stream of a group that is opened takes a number. When there is none left, the client
// forgets all references, and what follows comes with its labels again: once, of both groups.
func TestMergedForgetsReferences(t *testing.T) {
	two := newTwoGroups(t)
	r := newMerging(t, 0, two.groups[:]...)
	// Two groups have eight numbers, of which two are in use.
	const cuts = 2 * (8 - 2 + 1)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		plain := p.open(t, ctx, r.address, request(true, &getRequest{Follow: true}))
		forgot := 0
		recv, _ := restoring(t, func() (*getResponse, error) {
			r, err := plain()
			if r.GetForgetReferences() {
				forgot++
			}
			return r, err
		})
		until(t, recv, isSynced)
		var got, want []string
		for i := range int64(cuts) {
			two.groups[1].setAway(true)
			two.groups[1].setAway(false)
			for j, group := range []string{"a", "b"} {
				series := fmt.Sprintf("%s_forgotten{p=%q}", group, p.name)
				two.sources[j].write(point{series: series, t: i + 1, v: 1})
				want = append(want, fmt.Sprintf("%s 1 @%d", series, i+1))
			}
			until(t, recv, func(r *getResponse) bool { got = append(got, lines(r)...); return len(got) >= len(want) })
		}
		require.ElementsMatch(t, want, got)
		require.GreaterOrEqual(t, forgot, 2)
	})
}

// A client that takes nothing holds up nobody else, and the router keeps so much for it of
// each group and no more. Once it goes on it gets all.
func TestMergedForASlowClient(t *testing.T) {
	const blocks, series = 20, 10
	long := strings.Repeat("x", 8<<10) // so that a few samples are more than is kept of a group
	two := newTwoGroups(t)
	r := newMerging(t, 0, two.groups[:]...)
	for _, p := range protocols {
		if p.zipped {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			req := &getRequest{Follow: true, Selectors: []string{fmt.Sprintf("{p=%q}", p.name)}}
			slow, quick := p.open(t, ctx, r.address, req), p.open(t, ctx, r.address, req)
			until(t, slow, isSynced)
			until(t, quick, isSynced)
			want := map[string][]string{}
			for n := range blocks {
				for i, group := range []string{"a", "b"} {
					var block []point
					for k := range series {
						at := point{series: fmt.Sprintf(`%s_slow{i="%d",long=%q,p=%q}`, group, k, long, p.name), t: int64(n + 1), v: 1}
						block = append(block, at)
						want[group] = append(want[group], fmt.Sprintf("%s 1 @%d", at.series, at.t))
					}
					two.sources[i].write(block...)
				}
			}
			all := func(recv receiver) (got []string) {
				untilWithin(t, 3*patience, recv, func(r *getResponse) bool {
					got = append(got, lines(r)...)
					return len(got) >= 2*blocks*series
				})
				return got
			}
			requireUnion(t, want, all(quick))
			require.Less(t, r.held.Used(), int64(2<<20))
			requireUnion(t, want, all(slow))
		})
	}
}

// With min_interval each group holds back what comes too soon, and a cursor does not cover
// it: what was held back when a stream breaks off is not lost.
func TestMergedHoldsBack(t *testing.T) {
	two := newTwoGroups(t)
	r := newMerging(t, 0, two.groups[:]...)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		write := func(at int64) (want []string) {
			for i, group := range []string{"a", "b"} {
				series := fmt.Sprintf("%s_held{p=%q}", group, p.name)
				two.sources[i].write(point{series: series, t: at, v: float64(at)})
				want = append(want, fmt.Sprintf("%s %d @%d", series, at, at))
			}
			return want
		}
		held := []string{fmt.Sprintf("{p=%q}", p.name)}
		write(1)
		two.await(t)
		recv := p.open(t, ctx, r.address, &getRequest{Follow: true, MinInterval: secs(3600), HeartbeatInterval: millis(100), Selectors: held})
		until(t, recv, isSynced)
		want := append(write(2), write(3)...)
		two.await(t)
		beats := 0
		got := until(t, recv, func(*getResponse) bool { beats++; return beats == 3 })
		require.Empty(t, lines(got...))
		require.ElementsMatch(t, want, lines(all(t, p.open(t, ctx, r.address, &getRequest{Start: after(lastCursor(got)), Selectors: held}))...))
	})
}

// Where one group has no room for a stream, the call is refused in its server's words.
func TestMergedOverALimitOfOneGroup(t *testing.T) {
	two := twoGroupsOf(t, newSource(t), newSource(t), func(group string, c *server.Config) {
		if group == "b" {
			c.Streams = 1
		}
	})
	two.fill(1)
	two.await(t)
	r := newMerging(t, 0, two.groups[:]...)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		taken, leave := context.WithCancel(ctx)
		defer leave()
		for _, s := range two.servers[1] {
			require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_streams") == 0 }, patience, time.Millisecond)
			until(t, openGRPC(t, taken, s.RPCAddr().String(), &getRequest{Follow: true}), isSynced)
		}
		recv := p.open(t, ctx, r.address, &getRequest{Follow: true, Selectors: []string{"none"}})
		var err error
		for err == nil { // heartbeats
			_, err = recv()
		}
		requireLimit(t, "streams", true, err)
	})
}

// Where one group does not have what follows a cursor any more, the call is told where that
// goes on, and of the other group nothing is left out there.
func TestMergedBehindRetentionOfOneGroup(t *testing.T) {
	two := twoGroupsOf(t, newSource(t), newSource(t), func(group string, c *server.Config) {
		if group == "b" {
			c.RetentionSize = 1
		}
	})
	two.fill(1)
	two.await(t)
	r := newMerging(t, 0, two.groups[:]...)
	old := lastCursor(all(t, openGRPC(t, t.Context(), r.address, &getRequest{})))
	var ofA []string
	for i := range int64(3) {
		two.sources[0].write(point{series: "a_after", t: i, v: 1})
		ofA = append(ofA, fmt.Sprintf("a_after 1 @%d", i))
		two.sources[1].write(point{series: "b_after", t: i, v: 1})
		if i < 2 {
			two.sources[1].rotate()
		}
	}
	two.await(t)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		recv := p.open(t, ctx, r.address, &getRequest{Start: after(old)})
		var got []string
		var err error
		for err == nil { // what the other group has may come before
			var r *getResponse
			r, err = recv()
			got = append(got, lines(r)...)
		}
		requireCode(t, connect.CodeOutOfRange, err)
		oldest := detail[*metricsv1.CursorOutOfRange](t, err).GetOldestCursor()
		got = append(got, lines(all(t, p.open(t, ctx, r.address, &getRequest{Start: after(oldest)}))...)...)
		requireUnion(t, map[string][]string{"a": ofA, "b": {"b_after 1 @2"}}, got)
	})
}
