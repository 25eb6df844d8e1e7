package remotewrite

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/promgrpc/exporter/internal/limit"
)

// Limits of a request. Zero means the default.
type Limits struct {
	// DecodedBytes of a body.
	DecodedBytes int
	// Series a request, and metadata entries apart from series.
	Series int
	// Samples, histograms and exemplars a request, together.
	Samples int
	// Symbols a request of 2.0. A symbol can be of one byte, but its place in the
	// table is of 24.
	Symbols int
	// Labels a series.
	Labels int
	// NameBytes and ValueBytes of a label.
	NameBytes, ValueBytes int
	// Buckets of a native histogram, and spans of them.
	Buckets int
}

// DefaultLimits are far above what senders do by default (2000 samples a
// request, some ten labels a series).
func DefaultLimits() Limits {
	return Limits{
		DecodedBytes: 32 << 20,
		Series:       100_000,
		Samples:      500_000,
		Symbols:      500_000,
		Labels:       128,
		NameBytes:    1024,
		ValueBytes:   16 << 10,
		Buckets:      8192,
	}
}

// The flags that set the limits, named in messages about them.
const (
	flagDecodedBytes = "--limit.decoded-bytes"
	flagSeries       = "--limit.series"
	flagSamples      = "--limit.samples"
	flagSymbols      = "--limit.symbols"
	flagLabels       = "--limit.labels"
	flagNameBytes    = "--limit.label-name-length"
	flagValueBytes   = "--limit.label-value-length"
	flagBuckets      = "--limit.histogram-buckets"
)

// Flags calls add for each limit with the name of its flag, a line of help, and
// where its value is kept.
func (l *Limits) Flags(add func(name, help string, value *int)) {
	add(flagDecodedBytes[2:], "Largest body of a request, decompressed, in bytes.", &l.DecodedBytes)
	add(flagSeries[2:], "Most series that a request may hold.", &l.Series)
	add(flagSamples[2:], "Most samples, histograms and exemplars that a request may hold.", &l.Samples)
	add(flagSymbols[2:], "Most symbols that a request of remote write 2.0 may hold.", &l.Symbols)
	add(flagLabels[2:], "Most labels that a series may have.", &l.Labels)
	add(flagNameBytes[2:], "Longest label name, in bytes.", &l.NameBytes)
	add(flagValueBytes[2:], "Longest label value, in bytes.", &l.ValueBytes)
	add(flagBuckets[2:], "Most buckets that a native histogram may have.", &l.Buckets)
}

func withDefaults(l Limits) Limits {
	d := DefaultLimits()
	for _, f := range []struct{ value, byDefault *int }{
		{&l.DecodedBytes, &d.DecodedBytes}, {&l.Series, &d.Series}, {&l.Samples, &d.Samples},
		{&l.Symbols, &d.Symbols}, {&l.Labels, &d.Labels},
		{&l.NameBytes, &d.NameBytes}, {&l.ValueBytes, &d.ValueBytes}, {&l.Buckets, &d.Buckets},
	} {
		if *f.value <= 0 {
			*f.value = *f.byDefault
		}
	}
	return l
}

// maxErrors is how many reasons are kept, maxErrorBytes how much of each.
const (
	maxErrors     = 10
	maxErrorBytes = 1024
)

// Problems are what is wrong with parts of a request.
type Problems struct {
	// Rejected counts samples, histograms and exemplars.
	Rejected int
	// Count of problems.
	Count int
	// OverLimit counts those that came of a limit, by its name.
	OverLimit map[string]int
	// errors are the first of them.
	errors []string
}

// Add notes a problem of a series that costs n samples. The series is named by
// its labels.
func (p *Problems) Add(n int, labels []byte, err error) {
	p.note(n, err, func() string { return fmt.Sprintf("series %s: %v", describe(labels), err) })
}

// note takes the text as a function, since most of many are not kept.
func (p *Problems) note(n int, err error, text func() string) {
	p.Rejected += n
	p.Count++
	if over := (*limit.Error)(nil); errors.As(err, &over) {
		if p.OverLimit == nil {
			p.OverLimit = map[string]int{}
		}
		p.OverLimit[over.Name]++
	}
	if len(p.errors) < maxErrors {
		p.errors = append(p.errors, shorten(text()))
	}
}

// Errors are the first problems in words, and how many there are besides.
func (p *Problems) Errors() []string {
	if p.Count > len(p.errors) {
		return append(p.errors[:len(p.errors):len(p.errors)], fmt.Sprintf("and %d more", p.Count-len(p.errors)))
	}
	return p.errors
}

// shorten cuts a text at a character and makes it valid UTF-8.
func shorten(s string) string {
	const more = "…"
	if len(s) > maxErrorBytes {
		s = s[:maxErrorBytes]
		for len(s) > 0 {
			if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
				break
			}
			s = s[:len(s)-1]
		}
		s += more
	}
	return s
}
