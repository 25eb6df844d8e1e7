package selection

import (
	"context"

	"github.com/promgrpc/exporter/internal/limit"
)

// unshared are evaluations of which one peer may have all.
func unshared(c Limits) *Evaluations {
	return NewEvaluations(c, limit.NewBudget(FlagEvaluationBytes, "bytes", int64(c.EvaluationBytes), int64(c.EvaluationBytes)))
}

// newEvaluation returns one that shares nothing.
func newEvaluation(ctx context.Context) *Evaluation {
	return unshared(DefaultLimits()).New(ctx, Viewer{Peer: "peer"})
}

// parseSelection parses selectors within the default limits.
func parseSelection(texts ...string) (*Selection, error) {
	e := newEvaluation(context.Background())
	defer e.End()
	parsed, err := e.Parse(texts)
	return &parsed, err
}
