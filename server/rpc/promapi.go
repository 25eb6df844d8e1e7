package rpc

import (
	"context"

	"github.com/promgrpc/exporter/server/promapi"
	"github.com/promgrpc/exporter/server/refusal"
)

// newPromAPI returns Prometheus' HTTP API.
func (s *Service) newPromAPI() *promapi.API {
	return promapi.New(promapi.Shared{
		Engine: s.Engine, Refusals: s.Refusals, Families: s.families,
		Caller: func(ctx context.Context) promapi.Caller {
			return promapi.Caller{Viewer: viewerOf(ctx), Restricted: callerOf(ctx).Rights.Restricted(), Room: answerRoom(ctx)}
		},
		Serving: func() error {
			if err := s.Streams.Serving(); err != nil {
				return refusal.Unavailable(err, "")
			}
			return nil
		},
	})
}
