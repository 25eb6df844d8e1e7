package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server"
)

// withBucket is the configuration of a server with a bucket in a folder.
func withBucket(t testing.TB, folder string) server.Config {
	c := testConfig(t)
	c.BucketURL, c.BucketInterval = "file://"+folder, 100*time.Millisecond
	return c
}

// files are those below a folder, by their paths in it.
func files(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.Contains(path, ".seg") || strings.Contains(path, ".creating") {
			return nil //nolint:nilerr // It has gone meanwhile.
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		name, err := filepath.Rel(folder, path)
		found[name] = b
		return err
	}))
	return found
}

// joined are segments of which pieces are put together.
func joined(files map[string][]byte) map[string][]byte {
	segments := map[string][]byte{}
	for name, b := range files {
		if !strings.Contains(name, ".part/") {
			segments[name] = b
		}
	}
	for {
		grown := false
		for name, b := range files {
			segment, offset, piece := strings.Cut(name, ".part/")
			if piece && files[segment] == nil && offset == fmt.Sprintf("%020d", len(segments[segment])) {
				segments[segment] = append(bytes.Clone(segments[segment]), b...)
				grown = true
			}
		}
		if !grown {
			return segments
		}
	}
}

// archived waits until a bucket has all of a source's log, byte for byte.
func archived(t testing.TB, folder string, src *source) {
	t.Helper()
	require.Eventually(t, func() bool {
		there, want := joined(files(t, folder)), files(t, src.dir)
		for name, b := range want {
			if !bytes.Equal(there[name], b) {
				return false
			}
		}
		return len(want) > 0
	}, patience, 20*time.Millisecond)
}

// TestBucket checks that two servers bring a log to a bucket, each segment once and the one
// that is being written in pieces, and that a third one is filled from there and streams all
// of it.
func TestBucket(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "bucket")
	src := newSource(t)
	write := func(n int) {
		for i := range n {
			src.write(point{series: name(i % 10), t: now(), v: float64(i)})
		}
	}
	write(20)
	a, b := startFed(t, withBucket(t, folder), src), startFed(t, withBucket(t, folder), src)
	for range 3 {
		write(20)
		archived(t, folder, src)
		src.rotate()
	}
	write(20)
	archived(t, folder, src)
	sent := a.metric(t, "promgrpc_bucket_uploaded_segments_total") + b.metric(t, "promgrpc_bucket_uploaded_segments_total")
	require.EqualValues(t, 3, sent)
	require.Eventually(t, func() bool {
		for name := range files(t, folder) {
			segment, _, piece := strings.Cut(name, ".part/")
			if _, err := os.Stat(filepath.Join(folder, segment)); piece && err == nil {
				return false
			}
		}
		return true
	}, patience, 20*time.Millisecond, "pieces go with their segment")
	for _, s := range []*instance{a, b} {
		require.Eventually(t, func() bool {
			return s.metric(t, "promgrpc_bucket_archived_sequence") == float64(src.seq) && s.metric(t, "promgrpc_bucket_pending_bytes") == 0
		}, patience, 20*time.Millisecond)
	}

	c := start(t, withBucket(t, folder))
	require.Eventually(t, func() bool { return c.Ready() == nil }, patience, time.Millisecond)
	require.Equal(t, src.seq, c.last(t, src), "it was filled without a forwarder")
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		replay := func(s *instance) []string {
			since := &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(0))}
			return lines(all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: since}))...)
		}
		want := replay(a)
		require.Len(t, want, int(src.seq))
		require.Equal(t, want, replay(c), "what is not on its disk comes from the bucket")
	})
	require.Positive(t, c.metric(t, "promgrpc_bucket_downloaded_bytes_total"))
	write(5)
	src.feed(c.Server)
	c.await(t, src)
}

// TestDiskIsACache checks that a server whose disk keeps little, and a relay of it, stream
// from the bucket what a server that keeps everything does, from the start and from cursors.
func TestDiskIsACache(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "bucket")
	src := newSource(t)
	near := startFed(t, testConfig(t), src)
	c := withBucket(t, folder)
	c.RetentionTime, c.Window = time.Nanosecond, 0
	far := startFed(t, c, src)
	id := src.writer.Log().ID().String()
	onDisk := func(s server.Config) int {
		segments, err := filepath.Glob(filepath.Join(s.StoragePath, id, "*.seg"))
		require.NoError(t, err)
		return len(segments)
	}
	const rotations = 6
	at := now()
	for round := range rotations {
		var block []point
		for i := range 3000 {
			block = append(block, point{series: name(i), t: at + int64(round), v: float64(i)})
		}
		src.write(block...)
		archived(t, folder, src)
		require.Eventually(t, func() bool { return far.metric(t, "promgrpc_bucket_archived_sequence") == float64(src.seq) }, patience, 20*time.Millisecond)
		src.rotate()
	}
	src.write(point{series: name(1), t: at + rotations, v: 1})
	near.await(t, src)
	far.await(t, src)
	far.stop() // What it has in memory goes.
	far = startFed(t, c, src)
	require.Less(t, onDisk(c), rotations, "retention of the disk has left the rest to the bucket")

	r := withBucket(t, folder)
	relay := startRelay(t, r, far)
	relay.await(t, src)
	require.Less(t, onDisk(r), rotations, "it takes from its upstream what that has on its disk")
	since := &getRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}}
	whole := all(t, near.call(t, since))
	want := lines(whole...)
	require.Greater(t, len(whole), rotations)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for title, s := range map[string]*instance{"server": far, "relay": relay} {
		t.Run(title, func(t *testing.T) {
			require.Eventually(t, func() bool { return slices.Equal(want, lines(all(t, s.call(t, since))...)) }, patience, 50*time.Millisecond, "it knows what is in the bucket")
			overAll(t, func(t *testing.T, p protocol) {
				if p.lossy {
					return
				}
				for _, i := range []int{0, len(whole) / 2, len(whole) - 2} {
					rest := all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(whole[i].GetCursor())}))
					require.Equal(t, want, append(lines(whole[:i+1]...), lines(rest...)...), "after response %d", i)
				}
			})
			require.Positive(t, s.metric(t, "promgrpc_bucket_downloaded_bytes_total"))
			require.Zero(t, s.metric(t, "promgrpc_log_retention_lost_total"))
		})
	}
}

// TestFilledKnowsRequests has a server filled at the newest segments of two logs, of which
// one repeats there what the other has before: once it is ready, each comes once.
func TestFilledKnowsRequests(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "bucket")
	one, two := repeating(t)
	a := startFed(t, withBucket(t, folder), one, two)
	archived(t, folder, one)
	archived(t, folder, two)
	req := &getRequest{Start: after(behind(one, two)), Follow: true}
	want := lines(until(t, a.call(t, req), isSynced)...)
	require.Len(t, want, repeated-1, "of the first log")
	c := start(t, withBucket(t, folder))
	require.Eventually(t, func() bool { return c.Ready() == nil }, patience, time.Millisecond)
	overAll(t, func(t *testing.T, p protocol) {
		require.ElementsMatch(t, want, lines(until(t, p.open(t, t.Context(), c.RPCAddr().String(), req), isSynced)...))
	})
}

// TestRequestsInAHole checks that a server knows the requests of a segment that is in the
// bucket alone, between others that it has on its disk.
func TestRequestsInAHole(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "bucket")
	one, two := repeating(t)
	c := withBucket(t, folder)
	a := startFed(t, c, one, two)
	archived(t, folder, one)
	archived(t, folder, two)
	req := &getRequest{Start: after(behind(one, two)), Follow: true}
	want := lines(until(t, a.call(t, req), isSynced)...)
	a.stop()
	middle := one.writer.Log().Segments()[1].Name
	require.NoError(t, os.Remove(filepath.Join(c.StoragePath, one.writer.Log().ID().String(), middle)))
	b := start(t, c)
	require.Eventually(t, func() bool { return b.Ready() == nil }, patience, time.Millisecond)
	overAll(t, func(t *testing.T, p protocol) {
		require.ElementsMatch(t, want, lines(until(t, p.open(t, t.Context(), b.RPCAddr().String(), req), isSynced)...))
	})
}
