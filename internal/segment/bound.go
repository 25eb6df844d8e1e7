package segment

// What a part of a block takes in its frame at most, besides its own bytes: names,
// values, histograms, exemplars, texts. Each is also at least its share of a
// payload by the limits of the counts, so that a block of which all parts together
// are within [MaxPayload] is within every limit of a frame.
const (
	// FrameBound is for the lengths of the sections, and their counts.
	FrameBound = 256
	// SeriesBound is for a new series, and PlaceBound for each of its labels.
	SeriesBound = MaxPayload / MaxSeries
	PlaceBound  = MaxPayload / MaxLabels
	// LabelBound is for a label that new series have.
	LabelBound = MaxPayload / MaxLabels
	// SampleBound is for a float sample: its ordinal and two timestamps as runs of
	// one, and a value that has nothing in common with the one before.
	SampleBound = 40
	// EntryBound is for a histogram, an exemplar, a family's metadata, and an error
	// of the verdict.
	EntryBound = MaxPayload / MaxEntries
)
