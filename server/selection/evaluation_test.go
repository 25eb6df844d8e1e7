package selection

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
)

// An evaluation with much to do lets others work, and ends with its time or its call.
func TestEvaluationSlices(t *testing.T) {
	c := DefaultLimits()
	c.Evaluations = 1
	all := unshared(c)
	ctx, cancel := context.WithCancel(t.Context())
	heavy := all.New(ctx, Viewer{Peer: "peer"})
	require.NoError(t, heavy.Step(1))
	var others sync.WaitGroup
	var done atomic.Int64
	const n = 5
	for range n {
		others.Go(func() {
			e := all.New(t.Context(), Viewer{Peer: "peer"})
			defer e.End()
			if err := e.Step(1); err != nil {
				t.Error(err)
			}
			done.Add(1)
		})
	}
	for done.Load() < n {
		require.NoError(t, heavy.Step(evaluationStep))
	}
	others.Wait()
	cancel()
	require.ErrorIs(t, heavy.Step(evaluationStep), context.Canceled)
	heavy.End()
	require.Zero(t, all.turns.Used())
	require.Zero(t, all.room.Used())
}

// Only its own work counts, not the time in which others have the turn.
func TestEvaluationTime(t *testing.T) {
	c := DefaultLimits()
	c.Evaluations, c.EvaluationTime = 1, time.Minute
	all := unshared(c)
	e := all.New(t.Context(), Viewer{Peer: "peer"})
	defer e.End()
	require.NoError(t, e.Step(1))
	e.Pause()
	e.began = e.began.Add(-time.Hour)
	require.NoError(t, e.Step(evaluationStep))
	e.began = e.began.Add(-time.Hour)
	var over *limit.Error
	require.ErrorAs(t, e.Step(evaluationStep), &over)
	require.Equal(t, "evaluation-time", over.Name)
	require.False(t, over.Passing)
}
