package rpc

import (
	"context"

	"connectrpc.com/connect"
	"github.com/prometheus/common/model"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/selection"
)

// GetMetadata implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) GetMetadata(ctx context.Context, req *connect.Request[metricsv1.GetMetadataRequest]) (*connect.Response[metricsv1.GetMetadataResponse], error) {
	if err := checkGetMetadata(req.Msg); err != nil {
		return nil, err
	}
	if err := s.Streams.Serving(); err != nil {
		return nil, refusal.Unavailable(err, "")
	}
	var families *smallest[segment.Metadata]
	err := s.families(ctx, req.Msg.GetMetricFamilyName(), func(room func(int64) error) func(*segment.Metadata) error {
		families = newSmallest[segment.Metadata](req.Msg.GetLimit(), room)
		return func(m *segment.Metadata) error { return families.add(m.Family, *m, metadataSize(*m)) }
	})
	if err != nil {
		return nil, s.Refusals.Of(err)
	}
	_, sorted, truncated := families.sorted()
	res := &metricsv1.GetMetadataResponse{Truncated: truncated}
	for _, m := range sorted {
		res.Metadata = append(res.Metadata, metadataOf(m))
	}
	return connect.NewResponse(res), nil
}

// families calls yield with each family of each log that the caller sees, or those of one
// name, in the call's turn. collect returns yield; what it collects takes room.
func (s *Service) families(ctx context.Context, name string, collect func(room func(bytes int64) error) (yield func(*segment.Metadata) error)) error {
	visible, room, err := s.visibleFamilies(ctx)
	if err != nil {
		return err
	}
	end, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer end()
	yield := collect(room)
	for _, r := range s.Replicas.Serving() {
		for _, m := range r.Head.Metadata() {
			if name != "" && name != m.Family || !visible(&m) {
				continue
			}
			if err := yield(&m); err != nil {
				return err
			}
		}
	}
	return nil
}

// visibleFamilies says which families the caller may see: all, or those of which it sees
// a live series. What it takes to know this is taken along with the room of the answer.
func (s *Service) visibleFamilies(ctx context.Context) (visible func(*segment.Metadata) bool, room func(int64) error, err error) {
	answer := answerRoom(ctx)
	if !callerOf(ctx).Rights.Restricted() {
		return func(*segment.Metadata) bool { return true }, answer, nil
	}
	seen := newNames(answer)
	err = s.eachLive(ctx, nil, func(ls segment.Labels) error { return seen.add(selection.ValueOf(ls, model.MetricNameLabel)) })
	visible = func(m *segment.Metadata) bool { return m.HasSeries(seen.has) }
	return visible, func(bytes int64) error { return answer(seen.taken + bytes) }, err
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
