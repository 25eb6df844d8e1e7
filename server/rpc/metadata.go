package rpc

import (
	"context"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/refusal"
)

// GetMetadata implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) GetMetadata(ctx context.Context, req *connect.Request[metricsv1.GetMetadataRequest]) (*connect.Response[metricsv1.GetMetadataResponse], error) {
	if err := checkGetMetadata(req.Msg); err != nil {
		return nil, err
	}
	if err := s.Streams.Serving(); err != nil {
		return nil, refusal.Unavailable(err, "")
	}
	end, err := s.turn(ctx)
	if err != nil {
		return nil, s.Refusals.Of(err)
	}
	defer end()
	families := newSmallest[segment.Metadata](req.Msg.GetLimit(), answerRoom(ctx))
	for _, r := range s.Replicas.Serving() {
		for _, m := range r.Head.Metadata() {
			if want := req.Msg.GetMetricFamilyName(); want != "" && want != m.Family {
				continue
			}
			if err := families.add(m.Family, m, metadataSize(m)); err != nil {
				return nil, s.Refusals.Of(err)
			}
		}
	}
	_, sorted, truncated := families.sorted()
	res := &metricsv1.GetMetadataResponse{Truncated: truncated}
	for _, m := range sorted {
		res.Metadata = append(res.Metadata, metadataOf(m))
	}
	return connect.NewResponse(res), nil
}

func metadataOf(m segment.Metadata) *metricsv1.MetricMetadata {
	return &metricsv1.MetricMetadata{
		Type: metricsv1.MetricType(m.Type), MetricFamilyName: m.Family, Help: m.Help, Unit: m.Unit,
	}
}

// metadataSize is the most that a family takes as a field of a message.
func metadataSize(m segment.Metadata) int {
	const framing = 16 // tags, lengths and the type
	return framing + stringSize(m.Family) + stringSize(m.Help) + stringSize(m.Unit)
}
