package server_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server/router"
)

// regroup replaces the router's groups file by one of some of its groups.
func (r *routing) regroup(t testing.TB, groups ...int) {
	t.Helper()
	next := filepath.Join(t.TempDir(), "next.yml")
	require.NoError(t, os.WriteFile(next, []byte(r.two.file(groups...)), 0o600))
	require.NoError(t, os.Rename(next, r.file))
	for _, reload := range r.Reloads() {
		if reload.What == "--groups.file" {
			require.NoError(t, reload.Again())
		}
	}
}

// drain stops the router while a stream of it is read until its error, and returns what that
// says of where to go on.
func (r *routing) drain(t testing.TB, untilError func() error) *metricsv1.StreamInterrupted {
	t.Helper()
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.stop() }()
	err := untilError()
	<-stopped
	requireCode(t, connect.CodeUnavailable, err)
	told := detail[*metricsv1.StreamInterrupted](t, err)
	require.Equal(t, metricsv1.StreamInterrupted_REASON_DRAINING, told.GetReason())
	return told
}

// A router that ends tells its streams where to resume, and another router goes on there
// without a gap and without a repeat.
func TestRouterDrains(t *testing.T) {
	two := newTwoGroups(t)
	two.fill(20)
	two.await(t)
	other := startRouter(t, two)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r := startRouter(t, two)
		recv := p.open(t, ctx, r.address(), &getRequest{Follow: true, Start: fromTheStart})
		got := lines(until(t, recv, isSynced)...)
		ended := r.drain(t, func() error {
			for {
				m, err := recv()
				if err != nil {
					return err
				}
				got = append(got, lines(m)...)
			}
		})
		at := now()
		for i, group := range []string{"a", "b"} {
			two.sources[i].write(point{series: fmt.Sprintf("%s_drained{p=%q}", group, p.name), t: at, v: 1})
		}
		two.await(t)
		got = append(got, lines(all(t, p.open(t, ctx, other.address(), &getRequest{Start: after(ended.GetCursor())}))...)...)
		requireUnion(t, two.want(t, &getRequest{Start: fromTheStart}), got)
	})
}

// A stream that has followed through a router for as long as it may is told to resume
// elsewhere.
func TestRouterEndsOldStreams(t *testing.T) {
	two := newTwoGroups(t)
	r := startRouter(t, two, func(c *router.Config) { c.MaxAge = time.Second })
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		recv := p.open(t, ctx, r.address(), &getRequest{Follow: true, Start: fromTheStart})
		var err error
		for err == nil {
			_, err = recv()
		}
		requireCode(t, connect.CodeUnavailable, err)
		require.NotEmpty(t, detail[*metricsv1.StreamInterrupted](t, err).GetCursor())
	})
}

// A groups file that is replaced takes a group into a stream that is open; one that it has
// no longer is not in the status, nor in the streams that begin.
func TestRouterGroupsChange(t *testing.T) {
	two := newTwoGroups(t)
	two.fill(20)
	two.await(t)
	r := startRouter(t, two)
	want := two.want(t, &getRequest{Start: fromTheStart})
	status := func(t *testing.T, p protocol) *metricsv1.GetStatusResponse {
		res, err := clientOf(t, p, r.address()).GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
		require.NoError(t, err)
		return res.Msg
	}
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r.regroup(t, 0)
		require.Eventually(t, func() bool { return len(status(t, p).GetGroups()) == 1 }, patience, 10*time.Millisecond)
		recv := p.open(t, ctx, r.address(), &getRequest{Follow: true, Start: fromTheStart})
		require.Equal(t, want["a"], lines(until(t, recv, isSynced)...))
		r.regroup(t, 0, 1)
		var got []string
		until(t, recv, func(m *getResponse) bool { got = append(got, lines(m)...); return len(got) >= len(want["b"]) })
		require.Equal(t, want["b"], got)
		require.Len(t, status(t, p).GetGroups(), 2)
	})
}
