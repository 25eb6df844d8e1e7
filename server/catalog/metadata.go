package catalog

import (
	"context"

	"github.com/prometheus/common/model"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/selection"
)

// GetMetadata returns type, help and unit of metric families.
func (c *Catalog) GetMetadata(ctx context.Context, from call.Caller, req *metricsv1.GetMetadataRequest) (*metricsv1.GetMetadataResponse, error) {
	if err := c.Calls.Serving(); err != nil {
		return nil, refusal.Unavailable(err, "")
	}
	var families *answer.Smallest[segment.Metadata]
	err := c.Families(ctx, from, req.GetMetricFamilyName(), func(room func(int64) error) func(*segment.Metadata) error {
		families = answer.NewSmallest[segment.Metadata](req.GetLimit(), room)
		return func(m *segment.Metadata) error { return families.Add(m.Family, *m, metadataSize(*m)) }
	})
	if err != nil {
		return nil, err
	}
	_, sorted, truncated := families.Sorted()
	res := &metricsv1.GetMetadataResponse{Truncated: truncated}
	for _, m := range sorted {
		res.Metadata = append(res.Metadata, metadataOf(m))
	}
	return res, nil
}

// Families calls yield with each family of each log that the caller sees, or those of one
// name, in the call's turn. collect returns yield; what it collects takes room.
func (c *Catalog) Families(ctx context.Context, from call.Caller, name string, collect func(room func(bytes int64) error) (yield func(*segment.Metadata) error)) error {
	visible, room, err := c.visibleFamilies(ctx, from)
	if err != nil {
		return err
	}
	end, err := c.turn(ctx, from)
	if err != nil {
		return err
	}
	defer end()
	yield := collect(room)
	for _, r := range c.Replicas.Serving() {
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
func (c *Catalog) visibleFamilies(ctx context.Context, from call.Caller) (visible func(*segment.Metadata) bool, room func(int64) error, err error) {
	grow := answer.Room(from.Room)
	if !from.Rights.Restricted() {
		return func(*segment.Metadata) bool { return true }, grow, nil
	}
	seen := newNames(grow)
	err = c.eachLive(ctx, from, nil, func(ls segment.Labels) error { return seen.add(selection.ValueOf(ls, model.MetricNameLabel)) })
	visible = func(m *segment.Metadata) bool { return m.HasSeries(seen.has) }
	return visible, func(bytes int64) error { return grow(seen.taken + bytes) }, err
}

func metadataOf(m segment.Metadata) *metricsv1.MetricMetadata {
	return &metricsv1.MetricMetadata{
		Type: metricsv1.MetricType(m.Type), MetricFamilyName: m.Family, Help: m.Help, Unit: m.Unit,
	}
}

// metadataSize is the most that a family takes as a field of a message.
func metadataSize(m segment.Metadata) int {
	const framing = 16 // tags, lengths and the type
	return framing + answer.StringSize(m.Family) + answer.StringSize(m.Help) + answer.StringSize(m.Unit)
}
