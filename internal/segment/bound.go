package segment

// Upper bounds of what each part of a block adds to its frame, besides its own bytes
// (names, values, histograms, exemplars, texts). Each is also at least MaxPayload
// divided by the limit of its count, so a block whose parts sum up to at most
// [MaxPayload] is within every limit of a frame.
const (
	// FrameBound is for the lengths of the sections, and their counts.
	FrameBound = 256
	// SeriesBound is for a new series, IndexBound for each of its labels in its row.
	SeriesBound = MaxPayload / MaxSeries
	IndexBound  = MaxPayload / MaxLabels
	// LabelBound is for a label in the table of new series.
	LabelBound = MaxPayload / MaxLabels
	// SampleBound is for a float sample: its ordinal and two timestamps as runs of
	// one, and a value that has nothing in common with the one before.
	SampleBound = 40
	// EntryBound is for a histogram, an exemplar, a family's metadata, and an error
	// of the verdict.
	EntryBound = MaxPayload / MaxEntries
	// ElectionBound is for an election, with its texts.
	ElectionBound = 3*MaxElectionText + 64
	// PlacementBound is for a placement.
	PlacementBound = MaxGroup + MaxPlacement + 64
)
