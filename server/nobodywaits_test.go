package server_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
)

// canary follows one series.
type canary struct {
	src  *source
	recv receiver
	last int64
}

func newCanary(t *testing.T, ctx context.Context, s *instance, src *source) *canary {
	t.Helper()
	c := &canary{src: src, recv: openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, Selectors: []string{"canary"}})}
	until(t, c.recv, isSynced)
	return c
}

// sings writes a sample, and waits until the follower has it.
func (c *canary) sings(t *testing.T) {
	t.Helper()
	c.last = max(now(), c.last+1)
	c.src.write(point{series: "canary", t: c.last, v: 1})
	seen := fmt.Sprintf("canary 1 @%d", c.last)
	until(t, c.recv, func(r *getResponse) bool { return len(lines(r)) > 0 && lines(r)[0] == seen })
}

// Callers that ask for the status and for all metadata, again and again, keep no block
// from being applied.
func TestStatusAndMetadataKeepNobodyWaiting(t *testing.T) {
	const families, callers, blocks = 20_000, 8, 20
	src := newSource(t)
	b := src.block(point{series: "a", t: now(), v: 1})
	for i := range families {
		b.Metadata = append(b.Metadata, segment.Metadata{Family: fmt.Sprintf("f%05d", i), Help: "help"})
	}
	src.append(b)
	s := startFed(t, testConfig(t), src)
	for name, o := range unary {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			bird := newCanary(t, ctx, s, src)
			var answers atomic.Int64
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			for range callers {
				client := connectClient(t, s.RPCAddr().String(), true, o...)
				wg.Go(func() {
					for ctx.Err() == nil {
						_, err := client.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
						if err == nil {
							_, err = client.GetMetadata(ctx, connect.NewRequest(&metricsv1.GetMetadataRequest{Limit: 1}))
						}
						if err == nil {
							answers.Add(1)
						}
					}
				})
			}
			for i := range blocks {
				require.Eventually(t, func() bool { return answers.Load() > int64(i*callers) }, patience, time.Millisecond)
				bird.sings(t)
			}
		})
	}
}

// A selector that takes long to match delays nobody when a snapshot is resumed either,
// for which all series are matched again.
func TestResumedSnapshotKeepsNobodyWaiting(t *testing.T) {
	const callers = 4
	src := heavySource(t)
	c := testConfig(t)
	c.EvaluationTime = time.Hour
	c.EvaluationBytes = 1 << 30
	s := startFed(t, c, src)
	within := cursorWithinSnapshot(t, s)
	src.write(point{series: "canary", t: now(), v: 0}) // The snapshot is of the past.
	s.await(t, src)
	busy := func() float64 {
		return s.metric(t, "promgrpc_server_evaluations") + s.metric(t, "promgrpc_server_evaluations_waiting")
	}
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		bird := newCanary(t, ctx, s, src)
		heavy, stop := context.WithCancel(ctx)
		defer stop()
		ended := make(chan error, callers)
		for range callers {
			go func() {
				recv := p.open(t, heavy, s.RPCAddr().String(), &getRequest{Start: after(within), Selectors: []string{heavySelector(c)}})
				var err error
				for err == nil {
					_, err = recv()
				}
				ended <- err
			}()
		}
		require.Eventually(t, func() bool { return busy() == callers }, patience, time.Millisecond)
		for range 3 {
			bird.sings(t)
		}
		require.Empty(t, ended, "all of this was while they matched")
		stop()
		for range callers {
			require.NotErrorIs(t, <-ended, io.EOF, "it was given up")
		}
		require.Eventually(t, func() bool { return busy() == 0 }, patience, time.Millisecond)
	})
}

// cursorWithinSnapshot returns the cursor of the first response of a snapshot.
func cursorWithinSnapshot(t *testing.T, s *instance) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, err := openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{})()
	require.NoError(t, err)
	at, err := cursor.Parse(first.GetCursor())
	require.NoError(t, err)
	require.NotZero(t, at.Positions[0].SnapshotRef)
	return first.GetCursor()
}
