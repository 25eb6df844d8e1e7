package catalog

import (
	"context"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/call"
)

// ListSegments returns the files of the logs.
func (c *Catalog) ListSegments(ctx context.Context, from call.Caller, _ *metricsv1.ListSegmentsRequest) (*metricsv1.ListSegmentsResponse, error) {
	end, err := c.turn(ctx, from)
	if err != nil {
		return nil, err
	}
	defer end()
	res := &metricsv1.ListSegmentsResponse{}
	room, size := answer.Room(from.Room), 0
	for _, r := range slices.Concat(c.Replicas.All(), c.Replicas.Archived()) {
		files := r.Log.Segments()
		if err := room(int64(len(res.Segments)+len(files))*answer.EntryCost + int64(size)*answer.Cost); err != nil {
			return nil, err
		}
		for _, f := range files {
			segment := &metricsv1.Segment{
				LogId:         r.ID.String(),
				Name:          f.Name,
				FirstSequence: f.FirstSequence,
				LastSequence:  f.LastSequence,
				CreateTime:    timestamppb.New(f.CreateTime),
				SizeBytes:     f.Size,
				Sealed:        f.Sealed,
				Archived:      f.Archived,
				Remote:        f.Remote,
			}
			if size += protowire.SizeTag(1) + protowire.SizeBytes(proto.Size(segment)); size > answer.Size {
				res.Truncated = true
				return res, nil
			}
			res.Segments = append(res.Segments, segment)
		}
	}
	return res, nil
}
