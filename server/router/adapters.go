package router

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/server/router/groups"
	"github.com/promgrpc/exporter/server/router/merge"
	"github.com/promgrpc/exporter/server/router/remote"
)

// The rooms that work on groups say themselves what they need of them.

type (
	forMerge      struct{ groups *groups.Groups }
	groupOfMerge  struct{ *groups.Group }
	forRemote     struct{ groups *groups.Groups }
	groupOfRemote struct{ *groups.Group }
)

// Groups implements [merge.Groups].
func (f forMerge) Groups() ([]merge.Group, <-chan struct{}) {
	return adapted(f.groups, func(g *groups.Group) merge.Group { return groupOfMerge{g} })
}

// Open implements [merge.Group].
func (g groupOfMerge) Open(ctx context.Context, procedure string, request proto.Message) (merge.Upstream, error) {
	s, err := g.Group.Open(ctx, procedure, request)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Groups implements [remote.Groups].
func (f forRemote) Groups() ([]remote.Group, <-chan struct{}) {
	return adapted(f.groups, func(g *groups.Group) remote.Group { return groupOfRemote{g} })
}

// Open implements [remote.Group].
func (g groupOfRemote) Open(ctx context.Context, procedure string, request proto.Message) (remote.Stream, error) {
	s, err := g.Group.Open(ctx, procedure, request)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func adapted[T any](of *groups.Groups, as func(*groups.Group) T) ([]T, <-chan struct{}) {
	now, changed := of.Now()
	list := make([]T, len(now))
	for i, g := range now {
		list[i] = as(g)
	}
	return list, changed
}
