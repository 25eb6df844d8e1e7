package router

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/call"
)

// lookups are the calls that do not last, and ReadLogs.
type lookups struct{ router *Router }

// GetLabelNames returns the label names of the live series that match.
func (l lookups) GetLabelNames(ctx context.Context, from call.Caller, req *metricsv1.GetLabelNamesRequest) (*metricsv1.GetLabelNamesResponse, error) {
	selectors, err := l.router.narrow(ctx, from, req.GetSelectors())
	if err != nil {
		return nil, err
	}
	this := l.router.lookup(from, req.GetWhenAway())
	defer this.end()
	request := &metricsv1.GetLabelNamesRequest{Selectors: selectors, Limit: req.GetLimit()}
	all, err := askAll(ctx, this, metricsv1connect.MetricsServiceGetLabelNamesProcedure, request,
		func() *metricsv1.GetLabelNamesResponse { return new(metricsv1.GetLabelNamesResponse) })
	if err != nil {
		return nil, err
	}
	var lists []list
	for _, a := range all {
		lists = append(lists, list{a.answer.GetNames(), a.answer.GetTruncated()})
	}
	names, truncated, err := union(lists, req.GetLimit(), this.room)
	return &metricsv1.GetLabelNamesResponse{Names: names, Truncated: truncated}, err
}

// GetLabelValues returns the values that a label has in them.
func (l lookups) GetLabelValues(ctx context.Context, from call.Caller, req *metricsv1.GetLabelValuesRequest) (*metricsv1.GetLabelValuesResponse, error) {
	this := l.router.lookup(from, req.GetWhenAway())
	defer this.end()
	values, truncated, err := this.values(ctx, req)
	return &metricsv1.GetLabelValuesResponse{Values: values, Truncated: truncated}, err
}

func (l *lookup) values(ctx context.Context, req *metricsv1.GetLabelValuesRequest) ([]string, bool, error) {
	selectors, err := l.router.narrow(ctx, l.from, req.GetSelectors())
	if err != nil {
		return nil, false, err
	}
	request := &metricsv1.GetLabelValuesRequest{Name: req.GetName(), Selectors: selectors, Limit: req.GetLimit()}
	all, err := askAll(ctx, l, metricsv1connect.MetricsServiceGetLabelValuesProcedure, request,
		func() *metricsv1.GetLabelValuesResponse { return new(metricsv1.GetLabelValuesResponse) })
	if err != nil {
		return nil, false, err
	}
	var lists []list
	for _, a := range all {
		lists = append(lists, list{a.answer.GetValues(), a.answer.GetTruncated()})
	}
	return union(lists, req.GetLimit(), l.room)
}

// list is a sorted answer of one group, of which the end may be missing.
type list struct {
	entries   []string
	truncated bool
}

// union is what is in any of some lists, sorted, as far as all of them go.
func union(lists []list, limit uint32, room func(int64) error) ([]string, bool, error) {
	all := answer.NewSmallest[struct{}](limit, room)
	end, cut := endOf(lists)
	for _, l := range lists {
		for _, entry := range l.entries {
			if cut && entry > end {
				break
			}
			if err := all.Add(entry, struct{}{}, answer.StringSize(entry)); err != nil {
				return nil, false, err
			}
		}
	}
	sorted, _, truncated := all.Sorted()
	return sorted, truncated || cut, nil
}

// endOf is how far all lists go, if any has an end that is missing.
func endOf(lists []list) (end string, cut bool) {
	for _, l := range lists {
		if !l.truncated {
			continue
		}
		last := ""
		if n := len(l.entries); n > 0 {
			last = l.entries[n-1]
		}
		if !cut || last < end {
			end, cut = last, true
		}
	}
	return end, cut
}

// GetMetadata returns type, help and unit of metric families.
func (l lookups) GetMetadata(ctx context.Context, from call.Caller, req *metricsv1.GetMetadataRequest) (*metricsv1.GetMetadataResponse, error) {
	var found *answer.Smallest[segment.Metadata]
	cut, err := l.families(ctx, from, req.GetMetricFamilyName(), req.GetWhenAway(), func(room func(int64) error) func(*segment.Metadata) error {
		found = answer.NewSmallest[segment.Metadata](req.GetLimit(), room)
		return func(m *segment.Metadata) error {
			return found.Add(m.Family, *m, proto.Size(messageOf(m))+protowire.SizeTag(1)+protowire.SizeVarint(1<<20))
		}
	})
	if err != nil {
		return nil, err
	}
	_, sorted, truncated := found.Sorted()
	res := &metricsv1.GetMetadataResponse{Truncated: truncated || cut}
	for _, m := range sorted {
		res.Metadata = append(res.Metadata, messageOf(&m))
	}
	return res, nil
}

// Families calls yield with each family that the caller sees, or those of one name.
func (l lookups) Families(ctx context.Context, from call.Caller, name string, collect func(room func(bytes int64) error) (yield func(*segment.Metadata) error)) error {
	_, err := l.families(ctx, from, name, metricsv1.WhenAway_WHEN_AWAY_WAIT, collect)
	return err
}

// families also says whether there are more, which no group had room for.
func (l lookups) families(ctx context.Context, from call.Caller, name string, when metricsv1.WhenAway, collect func(room func(bytes int64) error) (yield func(*segment.Metadata) error)) (cut bool, err error) {
	this := l.router.lookup(from, when)
	defer this.end()
	visible := func(*segment.Metadata) bool { return true }
	if from.Rights.Restricted() {
		names, more, err := this.values(ctx, &metricsv1.GetLabelValuesRequest{Name: model.MetricNameLabel, Limit: answer.MostEntries})
		if err != nil {
			return false, err
		}
		cut = more
		has := func(name string) bool { _, ok := slices.BinarySearch(names, name); return ok }
		visible = func(m *segment.Metadata) bool { return m.HasSeries(has) }
	}
	request := &metricsv1.GetMetadataRequest{MetricFamilyName: name, Limit: answer.MostEntries}
	all, err := askAll(ctx, this, metricsv1connect.MetricsServiceGetMetadataProcedure, request,
		func() *metricsv1.GetMetadataResponse { return new(metricsv1.GetMetadataResponse) })
	if err != nil {
		return false, err
	}
	var lists []list
	for _, a := range all {
		of := list{truncated: a.answer.GetTruncated()}
		for _, m := range a.answer.GetMetadata() {
			of.entries = append(of.entries, m.GetMetricFamilyName())
		}
		lists = append(lists, of)
	}
	end, ends := endOf(lists)
	yield := collect(this.room)
	for _, a := range all {
		for _, m := range a.answer.GetMetadata() {
			of := segment.Metadata{Type: int32(m.GetType()), Family: m.GetMetricFamilyName(), Help: m.GetHelp(), Unit: m.GetUnit()}
			if ends && of.Family > end || !visible(&of) {
				continue
			}
			if err := yield(&of); err != nil {
				return false, err
			}
		}
	}
	return cut || ends, nil
}

func messageOf(m *segment.Metadata) *metricsv1.MetricMetadata {
	return &metricsv1.MetricMetadata{Type: metricsv1.MetricType(m.Type), MetricFamilyName: m.Family, Help: m.Help, Unit: m.Unit}
}

// ListSegments returns the files of the logs of all groups.
func (l lookups) ListSegments(ctx context.Context, from call.Caller, req *metricsv1.ListSegmentsRequest) (*metricsv1.ListSegmentsResponse, error) {
	this := l.router.lookup(from, req.GetWhenAway())
	defer this.end()
	all, err := askAll(ctx, this, metricsv1connect.MetricsServiceListSegmentsProcedure, &metricsv1.ListSegmentsRequest{},
		func() *metricsv1.ListSegmentsResponse { return new(metricsv1.ListSegmentsResponse) })
	if err != nil {
		return nil, err
	}
	res := &metricsv1.ListSegmentsResponse{}
	size := 0
	for _, a := range all {
		res.Truncated = res.Truncated || a.answer.GetTruncated()
		for _, s := range a.answer.GetSegments() {
			if size += protowire.SizeTag(1) + protowire.SizeBytes(proto.Size(s)); size > answer.Size {
				res.Truncated = true
				break
			}
			res.Segments = append(res.Segments, s)
		}
	}
	if err := this.room(int64(len(res.Segments))*answer.EntryCost + int64(size)*answer.Cost); err != nil {
		return nil, err
	}
	// The files of a log are in their order already.
	slices.SortStableFunc(res.Segments, func(a, b *metricsv1.Segment) int { return cmp.Compare(a.GetLogId(), b.GetLogId()) })
	return res, nil
}
