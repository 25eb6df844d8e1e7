package storeapi

import (
	"math"
	"time"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/gen/go/thanos/info"
	"github.com/promgrpc/exporter/server/call"
)

// receive is what a server is to Thanos: of others that have the same labels it would say
// that they do harm to a bucket.
const receive = "receive"

// Info answers what there is.
func (s *Store) Info(from call.Caller) (*info.InfoResponse, error) {
	if err := s.serving(); err != nil {
		return nil, err
	}
	set := &thanos.LabelSet{}
	for _, l := range s.External.list {
		set.Labels = append(set.Labels, &thanos.Label{Name: l.Name, Value: l.Value})
	}
	oldest := int64(math.MinInt64)
	if !from.Rights.Restricted() { // from whom it is kept how old series are that it may not see
		oldest = s.oldest()
	}
	return &info.InfoResponse{
		LabelSets:     []*thanos.LabelSet{set},
		ComponentType: receive,
		Store: &info.StoreInfo{
			MinTime: oldest, MaxTime: math.MaxInt64,
			SupportsSharding: true, SupportsWithoutReplicaLabels: true,
			TsdbInfos: []*info.TSDBInfo{{Labels: set, MinTime: oldest, MaxTime: math.MaxInt64}},
		},
	}, nil
}

// oldest is a time before which there are no samples: the present, if there are none at all,
// and any time as long as it is not known what the bucket has.
func (s *Store) oldest() int64 {
	if s.Samples.Replicas.Listed() != nil {
		return math.MinInt64
	}
	oldest := time.Now().UnixMilli()
	for _, log := range s.Samples.Replicas.Readable() {
		oldest = min(oldest, log.Log.MinTime())
	}
	return oldest
}
