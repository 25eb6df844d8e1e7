package rpc

import (
	"context"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/promapi"
	"github.com/promgrpc/exporter/server/refusal"
)

// newPromAPI returns Prometheus' HTTP API.
func (s *Service) newPromAPI() *promapi.API {
	return promapi.New(promapi.Shared{
		Engine: s.Engine, Refusals: s.Refusals,
		Caller: func(ctx context.Context) promapi.Caller {
			return promapi.Caller{Viewer: viewerOf(ctx), Restricted: callerOf(ctx).Rights.Restricted(), Room: answer.Room(callerOf(ctx).Room)}
		},
		Families: func(ctx context.Context, name string, collect func(room func(bytes int64) error) func(*segment.Metadata) error) error {
			return s.Backend.Families(ctx, callerOf(ctx), name, collect)
		},
		Serving: func() error {
			if err := s.Calls.Serving(); err != nil {
				return refusal.Unavailable(err, "")
			}
			return nil
		},
	})
}
