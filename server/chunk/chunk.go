// Package chunk holds samples of one series as Prometheus' chunks, with how late each
// sample arrived.
//
// A block has the time at which the forwarder appended it. By that, and not by when a
// server got it, a query decides which samples it may use: those that had arrived when
// its step was due. So every replica uses the same ones.
//
// Guaranteed: what an [Iterator] yields depends on the samples and the order in which
// they arrived alone, and not on how they were cut into chunks. Bits are kept, those of
// stale markers too, and so are the buckets of histograms, empty ones included.
//
// Not guaranteed: that a histogram says whether there was a counter reset before it.
package chunk

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Chunk is samples of one kind of one series, timestamps ascending. It is never changed.
type Chunk struct {
	// Min and Max are the timestamps of the first and the last sample, in ms.
	Min, Max int64
	Data     chunkenc.Chunk
	// Lags are those of the samples, in order, as uvarints. Nil: all are 0.
	Lags []byte
}

// Series is a series of a log, with chunks that may overlap. Where two have a sample at
// one time, that of the first chunk counts.
type Series struct {
	Labels labels.Labels
	Chunks []Chunk
}

// Lag is how many whole seconds, rounded up, a sample of a timestamp came before the
// time of its block; the latter is the latest of its block and of those before it. Both
// are in ms. 0 for one that is from the future.
func Lag(timestamp, blockTime int64) uint64 {
	if blockTime <= timestamp {
		return 0
	}
	return (uint64(blockTime) - uint64(timestamp) + 999) / 1000
}

// Arrival is when a sample counts as arrived, in ms: never before its timestamp, and
// less than a second after it did.
func Arrival(timestamp int64, lag uint64) int64 { return timestamp + 1000*int64(lag) }

// byMin returns the order of chunks by their first timestamps, nil if they are in it.
func byMin(chunks []Chunk, order []int32) []int32 {
	order = order[:0]
	if slices.IsSortedFunc(chunks, func(a, b Chunk) int { return cmp.Compare(a.Min, b.Min) }) {
		return order
	}
	for i := range chunks {
		order = append(order, int32(i))
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(chunks[a].Min, chunks[b].Min) })
	return order
}
