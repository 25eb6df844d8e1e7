package postings

import (
	"sort"

	"github.com/prometheus/prometheus/storage"
)

// Prometheus' set operations start before the first reference, which is 0; so an id
// is shown to them as the reference after it.
func refOf(id uint32) storage.SeriesRef { return storage.SeriesRef(id) + 1 }

func idOf(ref storage.SeriesRef) uint32 { return uint32(ref) - 1 }

// Runs are runs as Prometheus' set operations read them.
type Runs struct {
	rest []Run // after the current one
	last Run   // after these
	run  Run   // the current one, from the next id on
	at   storage.SeriesRef
}

// RunsOf returns runs, ascending and apart from each other.
func RunsOf(runs []Run) Runs { return Runs{rest: runs} }

// nextRun moves to the next run, which is empty at the end.
func (p *Runs) nextRun() {
	if len(p.rest) > 0 {
		p.run, p.rest = p.rest[0], p.rest[1:]
	} else {
		p.run, p.last = p.last, Run{}
	}
}

// Next implements [index.Postings].
func (p *Runs) Next() bool {
	if p.run.From == p.run.To {
		p.nextRun()
	}
	if p.run.From == p.run.To {
		return false
	}
	p.at = refOf(p.run.From)
	p.run.From++
	return true
}

// Seek implements [index.Postings].
func (p *Runs) Seek(to storage.SeriesRef) bool {
	if p.at >= to {
		return true
	}
	id := idOf(to)
	if p.run.To <= id {
		// Most often it is near: double the step until it is passed, then halve.
		step := 1
		for step < len(p.rest) && p.rest[step-1].To <= id {
			step *= 2
		}
		from, end := step/2, min(step, len(p.rest))
		skip := from + sort.Search(end-from, func(i int) bool { return p.rest[from+i].To > id })
		p.rest = p.rest[skip:]
		p.nextRun()
		if p.run.To <= id { // none of rest
			p.nextRun()
		}
	}
	p.run.From = max(p.run.From, min(id, p.run.To))
	return p.Next()
}

// At implements [index.Postings].
func (p *Runs) At() storage.SeriesRef { return p.at }

// Err implements [index.Postings].
func (p *Runs) Err() error { return nil }
