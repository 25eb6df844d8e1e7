package output

import (
	"slices"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// hasCreated are the kinds of family whose start can be written.
var hasCreated = []string{"counter", "histogram", "summary"}

// pointKey identifies a point of a metric, which several series make up.
type pointKey struct {
	family, kind, group string
	timestamp           int64
}

func keyOf(r *row) pointKey { return pointKey{r.family.name, r.family.kind, r.group, r.timestamp} }

// starts are the start timestamps of the points that are being added: one _created
// line a point. A _created series of the sender's own wins.
type starts struct {
	rows    []row
	written map[pointKey]bool
}

// add notes the start timestamp of a row's point. It returns false if the format
// cannot express it.
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

// mark notes that a point has its _created line, and reports whether it had none
// before.
func (s *starts) mark(k pointKey) (first bool) {
	if s.written == nil {
		s.written = map[pointKey]bool{}
	}
	first = !s.written[k]
	s.written[k] = true
	return first
}

// appendTo appends the _created lines of the points that have none yet.
func (s *starts) appendTo(rows []row) []row {
	for i := range s.rows {
		if s.mark(keyOf(&s.rows[i])) {
			rows = append(rows, s.rows[i])
		}
	}
	return rows
}
