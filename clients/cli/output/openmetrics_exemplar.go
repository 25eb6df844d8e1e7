package output

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// carried is the exemplars of a series, and the points that may have them.
type carried struct {
	exemplars []*metricsv1.Exemplar
	points    []point
}

// point is the rows of a series at one time that may have an exemplar: one, or the
// buckets of a native histogram in order of their bounds.
type point struct {
	timestamp int64
	from, to  int
}

// exemplarsOf collects the exemplars by series.
func exemplarsOf(all []*metricsv1.TimeSeries) map[string]*carried {
	found := map[string]*carried{}
	for _, s := range all {
		if len(s.GetExemplars()) == 0 {
			continue
		}
		name, labels := splitName(s.GetLabels())
		key := string(appendSeries(nil, name, labels))
		if found[key] == nil {
			found[key] = &carried{}
		}
		found[key].exemplars = append(found[key].exemplars, s.GetExemplars()...)
	}
	return found
}

// at notes where a point of the series is. It does nothing for a series without
// exemplars.
func (c *carried) at(timestamp int64, from, to int) {
	if c != nil {
		c.points = append(c.points, point{timestamp, from, to})
	}
}

// attach puts each exemplar at its sample: the first that is not older. A sample
// has one, the latest.
func (o *openMetrics) attach(c *carried) {
	slices.SortStableFunc(c.points, func(a, b point) int { return cmp.Compare(a.timestamp, b.timestamp) })
	slices.SortStableFunc(c.exemplars, func(a, b *metricsv1.Exemplar) int { return cmp.Compare(a.GetTimestamp(), b.GetTimestamp()) })
	for _, e := range c.exemplars {
		line := appendExemplar(nil, e)
		if line == nil {
			o.omit(exemplarsLong, 1)
			continue
		}
		r := o.rowFor(c.points, e)
		switch {
		case r == nil:
			o.omit(exemplarsOfOthers, 1)
			continue
		case r.exemplar != nil && !bytes.Equal(r.exemplar, line):
			o.omit(exemplarsCrowded, 1)
		}
		r.exemplar = line
	}
}

// rowFor returns the row that an exemplar belongs to, nil if there is none.
func (o *openMetrics) rowFor(points []point, e *metricsv1.Exemplar) *row {
	if len(points) == 0 {
		return nil
	}
	i := len(points) - 1
	if at := e.GetTimestamp(); at != 0 {
		i = min(i, sort.Search(len(points), func(i int) bool { return points[i].timestamp >= at }))
	}
	rows := o.rows[points[i].from:points[i].to]
	if len(rows) == 1 {
		return &rows[0]
	}
	// The last one's bound is infinite.
	return &rows[min(len(rows)-1, sort.Search(len(rows), func(i int) bool { return rows[i].bound >= e.GetValue() }))]
}

// maxExemplar is how many characters the format allows an exemplar's labels.
const maxExemplar = 128

// appendExemplar appends an exemplar, if the format allows it.
func appendExemplar(b []byte, e *metricsv1.Exemplar) []byte {
	size := 0
	for _, l := range e.GetLabels() {
		size += utf8.RuneCountInString(l.GetName()) + utf8.RuneCountInString(l.GetValue())
	}
	if size > maxExemplar || value.IsStaleNaN(e.GetValue()) {
		return b
	}
	b = append(b, " # {"...)
	b = appendLabels(b, e.GetLabels(), false)
	b = append(b, "} "...)
	b = appendValue(b, e.GetValue())
	if e.GetTimestamp() != 0 {
		b = appendSeconds(append(b, ' '), e.GetTimestamp())
	}
	return b
}
