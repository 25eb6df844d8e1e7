package load

import (
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/prompb"
)

// Recorded is a load of real exporters' pages, each multiplied to many targets: the
// labels that tell targets apart differ, and each target is at another place of the
// recording.
var Recorded = &Profile{
	Name:  "recorded",
	Few:   `{instance="10.0.0.0:9090",__name__=~"consul_raft_.*"}`,
	Churn: 0.01 / 4, // of four rounds in a minute
	Part: func(p Plan, first, end int) (func(round int) iter.Seq[Series], error) {
		pages, err := recorded()
		if err != nil {
			return nil, err
		}
		return multiply(pages, p, first, end), nil
	},
}

// replica is a target that has a page.
type replica struct {
	page       page
	number     int
	generation int
	origin     int // round of the page's first sample
	from, to   int // which series of the page are wanted
	labels     [][]prompb.Label
}

// multiply returns the series of a part of all targets, by round. Targets have the pages
// in turn.
func multiply(pages []page, p Plan, first, end int) func(round int) iter.Seq[Series] {
	replicas := cut(pages, first, end)
	for i := range replicas {
		r := &replicas[i]
		random := source(r.number)
		r.restart(0, -int(random.next()%uint64(r.page[0].length())))
	}
	return func(round int) iter.Seq[Series] {
		return func(yield func(Series) bool) {
			for i := range replicas {
				r := &replicas[i]
				phase := source(r.number)
				if g := int(math.Floor(float64(round)*p.Churn + phase.float())); g != r.generation {
					r.restart(g, round)
				}
				for s := r.from; s < r.to; s++ {
					if !yield(r.series(s, round)) {
						return
					}
				}
			}
		}
	}
}

// cut returns the targets that have the series from first up to, but not including, end.
func cut(pages []page, first, end int) (replicas []replica) {
	all := 0
	for _, page := range pages {
		all += len(page)
	}
	number, base := first/all*len(pages), first/all*all
	for ; base < end; number++ {
		page := pages[number%len(pages)]
		if from, to := max(first-base, 0), min(end-base, len(page)); from < to {
			replicas = append(replicas, replica{page: page, number: number, from: from, to: to})
		}
		base += len(page)
	}
	return replicas
}

// restart makes the target the pod of a generation, which starts in a round.
func (r *replica) restart(generation, round int) {
	r.generation, r.origin = generation, round
	random := source(uint64(r.number)<<20 | uint64(generation))
	suffix := "-" + strconv.FormatUint(random.next()>>32, 36) + "-" + strconv.Itoa(r.number)
	own := map[string]string{
		"instance": "10." + strconv.Itoa(r.number>>16&255) + "." + strconv.Itoa(r.number>>8&255) + "." + strconv.Itoa(r.number&255) + ":9090",
		"node":     "worker-" + strconv.Itoa(r.number/20) + ".eu-west-1",
		"pod":      r.page[0].label("container") + suffix,
	}
	r.labels = make([][]prompb.Label, r.to-r.from)
	for i := range r.labels {
		labels := slices.Clone(r.page[r.from+i].labels)
		for j := range labels {
			if value, ok := own[labels[j].Name]; ok {
				labels[j].Value = value
			}
		}
		r.labels[i] = labels
	}
}

// series of the page, with its sample of a round.
func (r *replica) series(i, round int) Series {
	c := &r.page[i]
	s := Series{Labels: r.labels[i-r.from], Type: c.kind, Help: c.help}
	if c.histograms != nil {
		s.Histogram = c.histogram(round - r.origin)
	} else {
		s.Value = c.value(round - r.origin)
	}
	return s
}
