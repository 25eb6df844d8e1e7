package read

import (
	"context"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// storeSeries is the method by which a Thanos querier reads from stores.
const storeSeries = "/thanos.Store/Series"

// ThanosSeries reads the samples of the last minutes by Thanos' StoreAPI, in which each
// response has one series with its chunks.
func ThanosSeries(ctx context.Context, server Server, since time.Time) (Result, error) {
	s, err := open(ctx, server, storeSeries, seriesRequest(since, time.Now().Add(time.Hour)))
	if err != nil {
		return Result{}, err
	}
	return s.drain(func(message []byte) (series, samples int, err error) { return count(message, 1, 0) })
}

// seriesRequest is a thanos.SeriesRequest for every series:
//
//	message SeriesRequest {
//	  int64 min_time = 1;
//	  int64 max_time = 2;
//	  repeated LabelMatcher matchers = 3;
//	}
//	message LabelMatcher {
//	  Type type = 1; // NEQ is 1
//	  string name = 2;
//	  string value = 3;
//	}
func seriesRequest(from, to time.Time) []byte {
	const notEqual = 1
	matcher := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), notEqual)
	matcher = protowire.AppendString(protowire.AppendTag(matcher, 2, protowire.BytesType), "__name__")
	request := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(from.UnixMilli()))
	request = protowire.AppendVarint(protowire.AppendTag(request, 2, protowire.VarintType), uint64(to.UnixMilli()))
	return protowire.AppendBytes(protowire.AppendTag(request, 3, protowire.BytesType), matcher)
}
