package server

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
)

// alone are evaluations of which one peer may have all.
func alone(c selectionLimits) *evaluations {
	return newEvaluations(c, limit.NewBudget(flagEvaluationBytes, "bytes", int64(c.EvaluationBytes), int64(c.EvaluationBytes)))
}

// One that has much to do lets others go on, and ends when its time or its call is
// over.
func TestEvaluationSlices(t *testing.T) {
	c := defaultSelectionLimits()
	c.Evaluations = 1
	all := alone(c)
	ctx, cancel := context.WithCancel(t.Context())
	heavy := all.begin(ctx, "peer")
	require.NoError(t, heavy.step(1))
	var others sync.WaitGroup
	var done atomic.Int64
	const n = 5
	for range n {
		others.Go(func() {
			e := all.begin(t.Context(), "peer")
			defer e.end()
			if err := e.step(1); err != nil {
				t.Error(err)
			}
			done.Add(1)
		})
	}
	for done.Load() < n {
		require.NoError(t, heavy.step(evaluationStep))
	}
	others.Wait()
	cancel()
	require.ErrorIs(t, heavy.step(evaluationStep), context.Canceled)
	heavy.end()
	require.Zero(t, all.turns.Used())
	require.Zero(t, all.room.Used())
}

// The time is that of its own work: it does not pass while others have the turn.
func TestEvaluationTime(t *testing.T) {
	c := defaultSelectionLimits()
	c.Evaluations, c.EvaluationTime = 1, time.Minute
	all := alone(c)
	e := all.begin(t.Context(), "peer")
	defer e.end()
	require.NoError(t, e.step(1))
	e.pause()
	e.began = e.began.Add(-time.Hour)
	require.NoError(t, e.step(evaluationStep))
	e.began = e.began.Add(-time.Hour)
	var over *limit.Error
	require.ErrorAs(t, e.step(evaluationStep), &over)
	require.Equal(t, "evaluation-time", over.Name)
	require.False(t, over.Passing)
}
