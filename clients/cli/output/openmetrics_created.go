package output

import (
	"slices"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// hasCreated are the kinds of family that say since when they count.
var hasCreated = []string{"counter", "histogram", "summary"}

// pointKey names a point of a metric. The series that it is made of share it.
type pointKey struct {
	family, kind, group string
	timestamp           int64
}

func keyOf(r *row) pointKey { return pointKey{r.family.name, r.family.kind, r.group, r.timestamp} }

// starts are the start timestamps of the points of which rows are being added,
// once a point, as lines called _created. Where a sender has written such a
// series itself, that one stands.
type starts struct {
	rows []row
	said map[pointKey]bool
}

// add takes the start timestamp of the point that a row is of. It returns false
// where the format has no word for it.
func (s *starts) add(r row, labels []*metricsv1.Label, start int64) bool {
	if !slices.Contains(hasCreated, r.family.kind) {
		return false
	}
	r.rank, r.bound = rank("_created"), 0
	r.line = append(appendSeries(nil, r.family.name+"_created", labels), ' ')
	r.line = append(appendSeconds(r.line, start), ' ')
	r.line = appendSeconds(r.line, r.timestamp)
	s.rows = append(s.rows, r)
	return true
}

// mark notes that a point has its line called _created, and says whether it had
// none before.
func (s *starts) mark(k pointKey) (first bool) {
	if s.said == nil {
		s.said = map[pointKey]bool{}
	}
	first = !s.said[k]
	s.said[k] = true
	return first
}

// appendTo appends the lines of the points that have none yet.
func (s *starts) appendTo(rows []row) []row {
	for i := range s.rows {
		if s.mark(keyOf(&s.rows[i])) {
			rows = append(rows, s.rows[i])
		}
	}
	return rows
}
