package storeapi

import (
	"github.com/cespare/xxhash/v2"

	"github.com/promgrpc/exporter/gen/go/thanos"
)

// shard is one of the parts that series are divided into by a hash of their labels as they
// are sent. All stores have to hash the same: the names and the values, each with a byte
// after it that is in neither.
type shard struct {
	index, total uint64
	by           bool
	names        map[string]struct{}
	buffer       []byte
}

// shardOf returns the part that a request is about, nil for all.
func shardOf(info *thanos.ShardInfo) *shard {
	if info.GetTotalShards() < 1 {
		return nil
	}
	s := &shard{index: uint64(info.GetShardIndex()), total: uint64(info.GetTotalShards()), by: info.GetBy(), names: map[string]struct{}{}}
	for _, name := range info.GetLabels() {
		s.names[name] = struct{}{}
	}
	return s
}

const separatorByte = 0xff

// has says whether a series with these labels is in the part.
func (s *shard) has(d *dictionary, ids []uint32) bool {
	s.buffer = s.buffer[:0]
	added := d.added
	for _, id := range ids {
		l := &d.labels[id]
		if l.removed {
			continue
		}
		for len(added) > 0 && added[0].Name < l.Name {
			s.hash(added[0].Name, added[0].Value)
			added = added[1:]
		}
		s.hash(l.Name, l.Value)
	}
	for _, l := range added {
		s.hash(l.Name, l.Value)
	}
	return xxhash.Sum64(s.buffer)%s.total == s.index
}

func (s *shard) hash(name, value string) {
	if _, named := s.names[name]; named != s.by {
		return
	}
	s.buffer = append(append(s.buffer, name...), separatorByte)
	s.buffer = append(append(s.buffer, value...), separatorByte)
}
