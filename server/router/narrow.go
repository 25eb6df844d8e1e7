package router

import (
	"context"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/selection"
)

// What a request to a server may have.
const (
	mostSelectors     = 64
	mostSelectorBytes = 16384
)

// narrow returns the selectors of what a caller selects and may see: all pairs of a selector
// of its own and one that it is allowed.
func (r *Router) narrow(ctx context.Context, from call.Caller, selectors []string) ([]string, error) {
	e := r.evaluations.New(ctx, from.Viewer())
	defer e.End()
	selected, err := e.Parse(selectors)
	switch {
	case err != nil:
		return nil, err
	case selected.Allowed == nil:
		return selectors, nil
	case len(selected.Selectors) == 0:
		return texts(selected.Allowed.Selectors), nil
	}
	var both []selection.Selector
	if n := len(selected.Selectors) * len(selected.Allowed.Selectors); n > mostSelectors {
		return nil, limit.Over(selection.FlagSelectorSize, "the selectors of the call and those that its caller is allowed make %d pairs, servers take %d selectors", n, mostSelectors)
	}
	for _, own := range selected.Selectors {
		for _, allowed := range selected.Allowed.Selectors {
			both = append(both, append(append(selection.Selector{}, own...), allowed...))
		}
	}
	narrowed := texts(both)
	for _, text := range narrowed {
		if len(text) > mostSelectorBytes {
			return nil, limit.Over(selection.FlagSelectorSize, "a selector of the call and one that its caller is allowed have %d bytes together, servers take %d", len(text), mostSelectorBytes)
		}
	}
	return narrowed, nil
}

func texts(selectors []selection.Selector) []string {
	list := make([]string, len(selectors))
	for i, s := range selectors {
		list[i] = s.String()
	}
	return list
}
