package history

import (
	"cmp"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
)

func compareLabels(a, b segment.Label) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
}

// write writes the run as a part up to the last block. Nobody may move the decoding on.
func (d *decoding) write(w io.Writer, s span, step func() error) error {
	series := make([]int, 0, d.run.series)
	for i, b := range d.run.builders {
		if b != nil {
			series = append(series, i)
		}
	}
	labels, sorted := d.sortLabels(series)
	slices.SortFunc(series, d.compare)
	p, err := newPartWriter(w, s, d.sum, labels)
	if err != nil {
		return err
	}
	var x extent
	var row []uint32
	for len(series) > 0 {
		if err := step(); err != nil {
			return err
		}
		// A log gives a series one reference at a time, but that is not checked.
		x.reset()
		of := series[0]
		for len(series) > 0 && d.compare(of, series[0]) == 0 {
			x.add(d.run.builders[series[0]].Chunks())
			series = series[1:]
		}
		if len(x.b) == 0 {
			continue // It had histograms alone that are none.
		}
		row = row[:0]
		for _, n := range d.row(of) {
			row = append(row, sorted[n])
		}
		if err := p.add(row, x.min, x.max, x.b); err != nil {
			return err
		}
	}
	return p.finish()
}

// extent is the chunks of a series as bytes, and their range.
type extent struct {
	b        []byte
	min, max int64
}

func (x *extent) reset() { x.b, x.min, x.max = x.b[:0], math.MaxInt64, math.MinInt64 }

func (x *extent) add(chunks []chunk.Chunk) {
	for _, c := range chunks {
		x.b = chunk.Append(x.b, c)
		x.min, x.max = min(x.min, c.Min), max(x.max, c.Max)
	}
}

// sortLabels returns the labels of some series, sorted, and the number that each has
// among them by the number that it has here.
func (d *decoding) sortLabels(series []int) (labels []segment.Label, sorted []uint32) {
	sorted = make([]uint32, len(d.labels))
	var used []uint32
	for _, i := range series {
		for _, n := range d.row(i) {
			if sorted[n] == 0 {
				sorted[n] = 1
				used = append(used, n)
			}
		}
	}
	slices.SortFunc(used, func(a, b uint32) int { return compareLabels(d.labels[a], d.labels[b]) })
	labels = make([]segment.Label, len(used))
	for i, n := range used {
		labels[i], sorted[n] = d.labels[n], uint32(i)
	}
	return labels, sorted
}
