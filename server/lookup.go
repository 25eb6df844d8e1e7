package server

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/common/version"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
)

// defaultLimit is what a limit of zero means.
const defaultLimit = 10000

// service implements the calls of the MetricsService that answer once.
type service struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	*Server
}

// GetLabelNames implements [metricsv1connect.MetricsServiceHandler].
func (s service) GetLabelNames(ctx context.Context, req *connect.Request[metricsv1.GetLabelNamesRequest]) (*connect.Response[metricsv1.GetLabelNamesResponse], error) {
	names := make(map[string]struct{})
	err := s.eachLive(ctx, req.Msg.GetSelectors(), func(ls segment.Labels) {
		for _, l := range ls {
			names[l.Name] = struct{}{}
		}
	})
	if err != nil {
		return nil, err
	}
	sorted, truncated := limited(slices.Sorted(maps.Keys(names)), req.Msg.GetLimit())
	return connect.NewResponse(&metricsv1.GetLabelNamesResponse{Names: sorted, Truncated: truncated}), nil
}

// GetLabelValues implements [metricsv1connect.MetricsServiceHandler].
func (s service) GetLabelValues(ctx context.Context, req *connect.Request[metricsv1.GetLabelValuesRequest]) (*connect.Response[metricsv1.GetLabelValuesResponse], error) {
	values := make(map[string]struct{})
	err := s.eachLive(ctx, req.Msg.GetSelectors(), func(ls segment.Labels) {
		if v := valueOf(ls, req.Msg.GetName()); v != "" {
			values[v] = struct{}{}
		}
	})
	if err != nil {
		return nil, err
	}
	sorted, truncated := limited(slices.Sorted(maps.Keys(values)), req.Msg.GetLimit())
	return connect.NewResponse(&metricsv1.GetLabelValuesResponse{Values: sorted, Truncated: truncated}), nil
}

// eachLive calls yield with the labels of each live series that is selected.
func (s service) eachLive(ctx context.Context, selectors []string, yield func(segment.Labels)) error {
	selected, err := parseSelection(selectors, s.config.SelectorSize)
	if err != nil {
		return s.refused(err)
	}
	if err := s.serving(); err != nil {
		return unavailable(err, "")
	}
	var ls segment.Labels
	for _, r := range s.replicas.serving() {
		refs, err := r.liveRefs(ctx, selected, s.liveSince())
		if err != nil {
			return err
		}
		for _, ref := range refs {
			ls, _ = r.head.Labels(ref, ls[:0])
			yield(ls)
		}
	}
	return nil
}

func (s *Server) liveSince() int64 { return time.Now().Add(-s.config.Staleness).UnixMilli() }

// GetMetadata implements [metricsv1connect.MetricsServiceHandler].
func (s service) GetMetadata(_ context.Context, req *connect.Request[metricsv1.GetMetadataRequest]) (*connect.Response[metricsv1.GetMetadataResponse], error) {
	if err := s.serving(); err != nil {
		return nil, unavailable(err, "")
	}
	families := make(map[string]segment.Metadata)
	for _, r := range s.replicas.serving() {
		for _, m := range r.head.Metadata() {
			if want := req.Msg.GetMetricFamilyName(); want == "" || want == m.Family {
				families[m.Family] = m
			}
		}
	}
	sorted := slices.SortedFunc(maps.Values(families), func(a, b segment.Metadata) int { return cmp.Compare(a.Family, b.Family) })
	sorted, truncated := limited(sorted, req.Msg.GetLimit())
	res := &metricsv1.GetMetadataResponse{Truncated: truncated}
	for _, m := range sorted {
		res.Metadata = append(res.Metadata, &metricsv1.MetricMetadata{
			Type: metricsv1.MetricType(m.Type), MetricFamilyName: m.Family, Help: m.Help, Unit: m.Unit,
		})
	}
	return connect.NewResponse(res), nil
}

func limited[T any](all []T, limit uint32) (some []T, truncated bool) {
	if limit == 0 {
		limit = defaultLimit
	}
	if len(all) > int(limit) {
		return all[:limit], true
	}
	return all, false
}

// ListSegments implements [metricsv1connect.MetricsServiceHandler].
func (s service) ListSegments(context.Context, *connect.Request[metricsv1.ListSegmentsRequest]) (*connect.Response[metricsv1.ListSegmentsResponse], error) {
	res := &metricsv1.ListSegmentsResponse{}
	for _, r := range s.replicas.all() {
		for _, f := range r.log.Segments() {
			res.Segments = append(res.Segments, &metricsv1.Segment{
				LogId:         r.id.String(),
				Name:          f.Name,
				FirstSequence: f.FirstSequence,
				LastSequence:  f.LastSequence,
				CreateTime:    timestamppb.New(f.CreateTime),
				SizeBytes:     f.Size,
				Sealed:        f.Sealed,
			})
		}
	}
	return connect.NewResponse(res), nil
}

// GetStatus implements [metricsv1connect.MetricsServiceHandler]. It answers
// before the server is ready, too.
func (s service) GetStatus(context.Context, *connect.Request[metricsv1.GetStatusRequest]) (*connect.Response[metricsv1.GetStatusResponse], error) {
	res := &metricsv1.GetStatusResponse{
		Instance:  s.config.Instance,
		Version:   version.Version,
		StartTime: timestamppb.New(s.started),
		Uptime:    durationpb.New(time.Since(s.started)),
		Ready:     s.Ready() == nil,
		Streams:   uint32(s.streams.open()),
	}
	if s.upstream != nil {
		res.Upstream = s.upstream.address()
	}
	var present cursor.Cursor
	for _, r := range s.replicas.all() {
		status := &metricsv1.LogStatus{
			LogId:         r.id.String(),
			FirstSequence: r.log.First(),
			LastSequence:  r.log.Last(),
			Connected:     r.feed.connected(),
			LagBlocks:     r.lag(),
			Series:        uint64(r.head.Len()),
		}
		if received := r.received.Load(); received != 0 {
			status.ReceiveTime = timestamppb.New(time.Unix(0, received))
		}
		for _, f := range r.log.Segments() {
			status.SizeBytes += f.Size
		}
		res.Logs = append(res.Logs, status)
		if r.serving() {
			res.LiveSeries += r.countLive(s.liveSince())
			present.Positions = append(present.Positions, cursor.Position{Log: r.id, Sequence: status.GetLastSequence()})
		}
	}
	if len(present.Positions) > 0 {
		res.Cursor = present.String()
	}
	return connect.NewResponse(res), nil
}
