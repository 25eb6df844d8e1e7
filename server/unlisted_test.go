package server_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// TestUnlistedBucket checks that a server that does not know what the bucket has of what is
// not on its disk leaves nothing out that may be there: it sends callers elsewhere.
func TestUnlistedBucket(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "bucket")
	src := newSource(t)
	a := startFed(t, withBucket(t, folder), src)
	var early string
	for i := range 3 {
		for j := range 20 {
			src.write(point{series: name(j % 10), t: now(), v: float64(j)})
		}
		archived(t, folder, src)
		src.rotate()
		if i == 0 {
			snapshot := all(t, a.call(t, &getRequest{}))
			early = snapshot[len(snapshot)-1].GetCursor()
		}
	}
	src.write(point{series: "last", t: now(), v: 1})
	archived(t, folder, src)

	// Nothing can be listed through a link to a file.
	link := filepath.Join(t.TempDir(), "link")
	point := func(to string) {
		require.NoError(t, os.Symlink(to, link+".new"))
		require.NoError(t, os.Rename(link+".new", link))
	}
	point(folder)
	c := withBucket(t, link)
	first := start(t, c)
	require.Eventually(t, func() bool { return first.Ready() == nil && first.last(t, src) == src.seq }, patience, time.Millisecond)
	first.stop()
	require.NoError(t, os.Remove(filepath.Join(c.StoragePath, "bucket")))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	point(file)
	s := startFed(t, c, src)
	s.await(t, src)

	since := &getRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(0))}}
	whole := all(t, a.call(t, since))
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for title, req := range map[string]*getRequest{"since": since, "cursor": {Start: after(early)}} {
			_, err := p.open(t, ctx, s.RPCAddr().String(), req)()
			require.Equal(t, connect.CodeUnavailable, codeOf(err), title)
		}
		require.NotEmpty(t, all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{})), "what is new does not wait for the bucket")
	})
	point(folder)
	require.Eventually(t, func() bool {
		_, err := s.call(t, since)()
		return err == nil
	}, patience, 20*time.Millisecond)
	require.Equal(t, lines(whole...), lines(all(t, s.call(t, since))...))
}
