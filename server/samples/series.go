package samples

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/server/chunk"
)

// Series is one of all logs.
type Series struct {
	Labels labels.Labels
	// Parts by priority: where several have a sample at a time, that of the first counts.
	Parts []Part
}

// Part is the samples of a series in one log, or a piece of it: those from one timestamp to
// another, both included.
type Part struct {
	Chunks   []chunk.Chunk
	From, To int64
	// Always says that they count whenever they arrived.
	Always bool
}

// What things take in memory, about.
const (
	SeriesBytes = 200
	ChunkBytes  = 80
)

// Merged sorts series by their labels, and makes one of those that have the same. Where
// several have a sample at a time, that of the first counts.
func Merged(all []*Series) []*Series {
	slices.SortStableFunc(all, func(a, b *Series) int { return labels.Compare(a.Labels, b.Labels) })
	n := 0
	for _, s := range all {
		if n > 0 && labels.Equal(all[n-1].Labels, s.Labels) {
			all[n-1].Parts = append(all[n-1].Parts, s.Parts...)
			continue
		}
		all[n] = s
		n++
	}
	return all[:n]
}
