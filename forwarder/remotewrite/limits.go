package remotewrite

import (
	"fmt"

	"github.com/promgrpc/exporter/internal/segment"
)

// Limits of a request. All are above zero.
type Limits struct {
	// DecodedBytes of a body, and of all that is written out of the references of
	// one of 2.0. The labels of its new series take twice as much in memory at most.
	DecodedBytes int
	// Series a request, and metadata entries apart from series.
	Series int
	// Samples, histograms and exemplars a request, together.
	Samples int
	// Symbols a request of 2.0. A symbol can be of one byte, but its entry in the
	// table takes 24.
	Symbols int
	// Labels a series.
	Labels int
	// NameBytes and ValueBytes of a label.
	NameBytes, ValueBytes int
	// LabelsBytes of a series: all names and values together.
	LabelsBytes int
	// ExemplarRunes are the characters of all names and values of an exemplar's
	// labels together.
	ExemplarRunes int
	// Buckets of a native histogram, and spans of them.
	Buckets int
	// HistogramBytes of a native histogram.
	HistogramBytes int
	// BlockBytes that the request may take in the log. Beyond [segment.MaxPayload]
	// no block has room.
	BlockBytes int
	// MetadataBytes of the help text of a family, which is cut, and of its unit.
	MetadataBytes int
}

// DefaultLimits are far above what senders do by default (2000 samples a
// request, some ten labels a series). They hold in sum: a series with a histogram
// and an exemplar takes less than 200 KiB. OpenMetrics allows an exemplar 128
// characters, and so does Prometheus.
func DefaultLimits() Limits {
	return Limits{
		DecodedBytes:   32 << 20,
		Series:         100_000,
		Samples:        500_000,
		Symbols:        500_000,
		Labels:         128,
		NameBytes:      1024,
		ValueBytes:     16 << 10,
		LabelsBytes:    64 << 10,
		ExemplarRunes:  128,
		Buckets:        8192,
		HistogramBytes: 128 << 10,
		BlockBytes:     segment.MaxPayload,
		MetadataBytes:  4 << 10,
	}
}

// The flags that set the limits, named in messages about them.
const (
	flagDecodedBytes   = "--limit.decoded-bytes"
	flagSeries         = "--limit.series"
	flagSamples        = "--limit.samples"
	flagSymbols        = "--limit.symbols"
	flagLabels         = "--limit.labels"
	flagNameBytes      = "--limit.label-name-length"
	flagValueBytes     = "--limit.label-value-length"
	flagLabelsBytes    = "--limit.labels-length"
	flagExemplarRunes  = "--limit.exemplar-length"
	flagBuckets        = "--limit.histogram-buckets"
	flagHistogramBytes = "--limit.histogram-bytes"
	flagBlockBytes     = "--limit.block-bytes"
	flagMetadataBytes  = "--limit.metadata-length"
)

// Flags calls add for each limit with the name of its flag, a line of help, and
// where its value is kept.
func (l *Limits) Flags(add func(name, help string, value *int)) {
	add(flagDecodedBytes[2:], "Largest body of a request, decompressed, in bytes; and what is written out of the references of one of 2.0.", &l.DecodedBytes)
	add(flagSeries[2:], "Most series that a request may hold.", &l.Series)
	add(flagSamples[2:], "Most samples, histograms and exemplars that a request may hold.", &l.Samples)
	add(flagSymbols[2:], "Most symbols that a request of remote write 2.0 may hold.", &l.Symbols)
	add(flagLabels[2:], "Most labels that a series may have.", &l.Labels)
	add(flagNameBytes[2:], "Longest label name, in bytes.", &l.NameBytes)
	add(flagValueBytes[2:], "Longest label value, in bytes.", &l.ValueBytes)
	add(flagLabelsBytes[2:], "Longest label names and values of a series together, in bytes.", &l.LabelsBytes)
	add(flagExemplarRunes[2:], "Longest label names and values of an exemplar together, in characters.", &l.ExemplarRunes)
	add(flagBuckets[2:], "Most buckets that a native histogram may have.", &l.Buckets)
	add(flagHistogramBytes[2:], "Largest native histogram, in bytes.", &l.HistogramBytes)
	add(flagBlockBytes[2:], "Largest block that a request may become in the log, before compression, in bytes.", &l.BlockBytes)
	add(flagMetadataBytes[2:], "Longest help text and unit of a metric family, in bytes; a longer help text is cut, a longer unit refused.", &l.MetadataBytes)
}

// Check says which limit is none.
func (l *Limits) Check() error {
	var err error
	l.Flags(func(name, _ string, value *int) {
		if *value <= 0 && err == nil {
			err = fmt.Errorf("--%s has to be above zero", name)
		}
	})
	if err == nil && l.BlockBytes > segment.MaxPayload {
		err = fmt.Errorf("%s is %d, more than a block holds: at most %d", flagBlockBytes, l.BlockBytes, segment.MaxPayload)
	}
	return err
}
