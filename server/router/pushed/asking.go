package pushed

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/server/promql"
)

// asking is an expression that groups evaluate.
type asking struct {
	groups *Groups
	asked  promql.Asked
	parts  []*part // by the names of the groups

	mu   sync.Mutex // of the hold
	over error      // why it holds no more
}

// At implements [promql.Asking].
func (a *asking) At(ctx context.Context, at int64) ([]promql.Answer, error) {
	a.update(at)
	answers := make([]promql.Answer, len(a.parts))
	for i, p := range a.parts {
		s, err := p.wait(ctx, at)
		if err != nil {
			return nil, err
		}
		answers[i] = s.Answer
	}
	return answers, nil
}

// Close implements [promql.Asking].
func (a *asking) Close() {
	for _, p := range a.parts {
		p.close()
	}
	a.parts = nil
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked.Hold.Release()
}

// update asks the groups that there are now, from a step on.
func (a *asking) update(at int64) {
	groups, _ := a.groups.Groups.Groups()
	a.parts = slices.DeleteFunc(a.parts, func(p *part) bool {
		gone := !slices.Contains(groups, p.group)
		if gone {
			p.close()
		}
		return gone
	})
	for _, g := range groups {
		i, known := slices.BinarySearchFunc(a.parts, g.Name(), func(p *part, name string) int { return strings.Compare(p.group.Name(), name) })
		switch {
		case !known:
			a.parts = slices.Insert(a.parts, i, newPart(a, g, at))
		case at < a.parts[i].first():
			a.parts[i].close()
			a.parts[i] = newPart(a, g, at)
		}
	}
	invariant.Check(len(a.parts) == len(groups), "a part for each group")
}

// hold holds more of what parts keep, or less.
func (a *asking) hold(n int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over == nil {
		a.over = a.asked.Hold.Grow(n)
	}
	return a.over
}
