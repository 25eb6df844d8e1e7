package segment

import "iter"

// Label is one label of a series.
type Label struct{ Name, Value string }

// Labels of a series, sorted by name.
type Labels []Label

// Histogram is one native histogram sample.
type Histogram struct {
	Ref       uint64
	Timestamp int64 // ms
	// After is how many of the block's float samples came before it, never fewer
	// than before the previous histogram.
	After int
	// Data is the wire form of prometheus.Histogram, not looked into.
	Data []byte
}

// Exemplar is one exemplar.
type Exemplar struct {
	Ref uint64
	// Data is the wire form of prometheus.Exemplar, not looked into.
	Data []byte
}

// Metadata of a metric family.
type Metadata struct {
	Family string
	Type   int32
	Help   string
	Unit   string
}

// Verdict is what the sender of a request was told. A repeated request gets it
// again.
type Verdict struct {
	Samples, Histograms, Exemplars, Rejected uint32
	// Code is a linkv1.Code.
	Code uint8
	// Limits is a fingerprint of the limits because of which a part was refused
	// that others may let in. 0: the verdict is the same under all.
	Limits uint32
	Errors []string
}

// Block is what one request added to the log. Float samples and histograms are in
// order of arrival, also among each other: [Block.Parts] yields them in that order.
// Exemplars are in order among themselves, and come after both.
type Block struct {
	// Sequence from 1, without holes.
	Sequence uint64
	// Time in ms at which the forwarder appended the block.
	Time int64
	// Digest of the request that the block came from. Zero: none.
	Digest  [16]byte
	Verdict Verdict
	// Series that are new, refs ascending and above all that the segment knows.
	Series     SeriesTable
	Samples    Samples
	Histograms []Histogram
	Exemplars  []Exemplar
	Metadata   []Metadata
	Elections  []Election
	// Placement, where it is another one than before.
	Placement Placement
}

// Keyframe is a chunk of the state at the beginning of a segment. Refs ascend
// throughout the chunks.
type Keyframe struct {
	// Sequence of the last block that the state includes.
	Sequence uint64
	// NextRef is the next reference to be given.
	NextRef uint64
	// Last says that this is the last chunk.
	Last   bool
	Series SeriesTable
	// Latest is parallel to Series.
	Latest []Latest
	// Metadata of some families. All chunks together have all of them.
	Metadata []Metadata
	// Elections for some clusters. All chunks together have all of them.
	Elections []Election
	// Placement that the log has, in one of the chunks.
	Placement Placement
}

// Latest is the latest sample of a series.
type Latest struct {
	Timestamp, StartTimestamp int64 // ms
	Value                     float64
	// Histogram, when not nil, is the latest sample; Value is unused then.
	Histogram []byte
	// None says that the series is known but has no sample yet.
	None bool
	// Written is the Time, in ms, of the last block with a sample of the series,
	// whether or not that became the latest.
	Written int64
}

// AddHistogram adds a histogram after the samples that the block has so far.
func (b *Block) AddHistogram(ref uint64, timestamp int64, data []byte) {
	b.Histograms = append(b.Histograms, Histogram{Ref: ref, Timestamp: timestamp, After: b.Samples.Len(), Data: data})
}

// Parts yields float samples and histograms in order of arrival: each time a part
// of the samples, whose values alias those of b, or a histogram.
func (b *Block) Parts() iter.Seq2[Part, *Histogram] {
	return func(yield func(Part, *Histogram) bool) {
		samples, histograms := partsReader{s: b.Samples}, b.Histograms
		for at := 0; ; {
			for len(histograms) > 0 && histograms[0].After <= at {
				if !yield(Part{}, &histograms[0]) {
					return
				}
				histograms = histograms[1:]
			}
			most := b.Samples.Len() - at
			if most == 0 {
				return
			}
			if len(histograms) > 0 {
				most = min(most, histograms[0].After-at)
			}
			part := samples.next(most)
			if !yield(part, nil) {
				return
			}
			at += len(part.Values)
		}
	}
}

// Detach returns the block without its new series, to be kept. b keeps the memory
// of its series table alone, for the next block that is decoded into it.
func (b *Block) Detach() *Block {
	rest := *b
	rest.Series = SeriesTable{}
	*b = Block{Series: b.Series}
	return &rest
}

// EstimatedBytes is about what the block takes in memory.
func (b *Block) EstimatedBytes() int {
	n := 320 + 8*len(b.Samples.Values) + 16*(len(b.Samples.Refs)+len(b.Samples.Times)+len(b.Samples.Starts))
	n += 12*len(b.Series.Refs) + 4*len(b.Series.Indexes)
	for i := range b.Series.Labels {
		n += 32 + len(b.Series.Labels[i].Name) + len(b.Series.Labels[i].Value)
	}
	for i := range b.Histograms {
		n += 48 + len(b.Histograms[i].Data)
	}
	for i := range b.Exemplars {
		n += 32 + len(b.Exemplars[i].Data)
	}
	for i := range b.Metadata {
		m := &b.Metadata[i]
		n += 56 + len(m.Family) + len(m.Help) + len(m.Unit)
	}
	for i := range b.Elections {
		n += b.Elections[i].Bytes()
	}
	return n + b.Placement.Bytes() + ErrorBytes(b.Verdict.Errors)
}

// ErrorBytes is about what the errors of a verdict take in memory.
func ErrorBytes(errs []string) (n int) {
	for _, e := range errs {
		n += 16 + len(e)
	}
	return n
}
