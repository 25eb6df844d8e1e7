// Package selectiontest makes selections for tests of what is selected by them.
package selectiontest

import (
	"context"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/selection"
)

// Evaluation returns one that shares nothing.
func Evaluation(ctx context.Context) *selection.Evaluation { return evaluation(ctx, nil) }

func evaluation(ctx context.Context, allowed *selection.Selection) *selection.Evaluation {
	c := selection.DefaultLimits()
	room := limit.NewBudget(selection.FlagEvaluationBytes, "bytes", int64(c.EvaluationBytes), int64(c.EvaluationBytes))
	return selection.NewEvaluations(c, room).New(ctx, selection.Viewer{Peer: "peer", Allowed: allowed})
}

// Parse parses selectors within the default limits.
func Parse(texts ...string) (*selection.Selection, error) {
	e := Evaluation(context.Background())
	defer e.End()
	parsed, err := e.Parse(texts)
	return &parsed, err
}

// ParseAllowed parses selectors of a caller that may see the series of others.
func ParseAllowed(texts, allowed []string) (*selection.Selection, error) {
	compiled, err := selection.DefaultLimits().Compile(allowed)
	if err != nil {
		return nil, err
	}
	e := evaluation(context.Background(), compiled)
	defer e.End()
	parsed, err := e.Parse(texts)
	return &parsed, err
}

// Selectors of all kinds.
var Selectors = []string{
	`m1`, `{a="1"}`, `{a=""}`, `{a!=""}`, `{a!="1"}`, `{a=~"1|2"}`, `{a!~"1|2"}`, `{a=~".*"}`, `{a=~".+"}`, `{a!~".+"}`, `{a!~".*"}`,
	`{a=~"|1"}`, `{a!~"|1"}`, `{a=~"[12]",b!="3"}`, `m1{a="1",a!="2",b=~".+",c=""}`, `{nothing=""}`, `{nothing!=""}`, `{nothing="x"}`,
	`{a="",b="",c=""}`, `{__name__=~"m[13]",c!~"[0-3]"}`, `{a=~"1",a=~"2"}`, `{a=~"(?i)1"}`,
}
