package harness

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

// Point is a sample of a series in a form that can be compared.
type Point struct {
	Series string // as Series writes it
	Time   int64  // in milliseconds since the Unix epoch
	Value  string // as Float and Histogram write it
}

// Points are samples with how often each occurs, in no order.
type Points map[Point]int

// Series writes labels in the one form that points have.
func Series(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, ",%s=%q", name, labels[name])
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

// Float writes a value so that different ones look different, with the stale
// marker told from other NaNs.
func Float(v float64) string {
	if value.IsStaleNaN(v) {
		return "stale"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// Histogram writes a native histogram so that equal ones look equal however
// their empty buckets are laid out. Prometheus' storage changes that layout,
// and works out reset hints by itself, so these are left out, except for gauges.
func Histogram(h prompb.Histogram) string {
	if value.IsStaleNaN(h.Sum) {
		return "stale"
	}
	gauge := ""
	if h.ResetHint == prompb.Histogram_GAUGE {
		gauge = " gauge"
	}
	if h.IsFloatHistogram() {
		f := h.ToFloatHistogram().Compact(0)
		return fmt.Sprintf("float%s schema=%d zero=%s/%s count=%s sum=%s +%v%v -%v%v custom=%v", gauge,
			f.Schema, Float(f.ZeroCount), Float(f.ZeroThreshold), Float(f.Count), Float(f.Sum),
			f.PositiveSpans, f.PositiveBuckets, f.NegativeSpans, f.NegativeBuckets, f.CustomValues)
	}
	i := h.ToIntHistogram().Compact(0)
	return fmt.Sprintf("int%s schema=%d zero=%d/%s count=%d sum=%s +%v%v -%v%v custom=%v", gauge,
		i.Schema, i.ZeroCount, Float(i.ZeroThreshold), i.Count, Float(i.Sum),
		i.PositiveSpans, i.PositiveBuckets, i.NegativeSpans, i.NegativeBuckets, i.CustomValues)
}

// Add counts a point.
func (p Points) Add(series string, time int64, value string) { p[Point{series, time, value}]++ }

// Filter returns the points that keep accepts.
func (p Points) Filter(keep func(Point) bool) Points {
	kept := Points{}
	for point, n := range p {
		if keep(point) {
			kept[point] = n
		}
	}
	return kept
}

// Visible returns the points as Prometheus' query API shows them: without
// stale markers.
func (p Points) Visible() Points {
	return p.Filter(func(point Point) bool { return point.Value != "stale" })
}

// Until returns the points that are not later than an instant.
func (p Points) Until(at time.Time) Points {
	return p.Filter(func(point Point) bool { return point.Time <= at.UnixMilli() })
}

// Latest returns the last point of each series.
func (p Points) Latest() Points {
	last := map[string]Point{}
	for point := range p {
		if before, ok := last[point.Series]; !ok || point.Time > before.Time {
			last[point.Series] = point
		}
	}
	latest := Points{}
	for _, point := range last {
		latest[point]++
	}
	return latest
}

// Missing counts the points of want that p lacks.
func (p Points) Missing(want Points) int {
	missing := 0
	for point, n := range want {
		missing += max(0, n-p[point])
	}
	return missing
}

// Equal fails the test, and says what differs, if got is not want.
func Equal(t testing.TB, what string, want, got Points) {
	t.Helper()
	var missing, extra []string
	for point, n := range want {
		if got[point] < n {
			missing = append(missing, fmt.Sprintf("%+v: %d of %d", point, got[point], n))
		}
	}
	for point, n := range got {
		if want[point] < n {
			extra = append(extra, fmt.Sprintf("%+v: %d in place of %d", point, n, want[point]))
		}
	}
	if len(missing)+len(extra) > 0 {
		t.Errorf("%s: %d points wanted; %d are missing:%s\nand %d too many:%s",
			what, len(want), len(missing), some(missing), len(extra), some(extra))
	}
}

// some of the lines, sorted.
func some(lines []string) string {
	slices.Sort(lines)
	more := ""
	if len(lines) > 10 {
		lines, more = lines[:10], "\n\t…"
	}
	return strings.Join(append([]string{""}, lines...), "\n\t") + more
}

// IsHistogram says whether the value is a native histogram.
func (p Point) IsHistogram() bool {
	return strings.HasPrefix(p.Value, "int") || strings.HasPrefix(p.Value, "float")
}
