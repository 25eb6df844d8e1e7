package report

import (
	"bytes"
	"fmt"
	"strconv"
)

// The files that a run writes, without their endings.
const (
	All     = "result"
	Queries = "queries"
)

// Windowless is the project whose servers keep no samples in memory for queries, and
// LiveSeries how many series get a sample each second where steps are measured.
const (
	Windowless = "project, 1 server, no window"
	LiveSeries = 67 * 250
)

// Crowds are how many there are who take the same steps.
var Crowds = []int{1, 100, 1000}

// What is asked, and what is measured of it.
const (
	StepRate      = "rate of 1005 series, each second"
	StepSum       = "sum by of the rate of 1005 series, each second"
	RawReferences = "following the 1005 series raw, with label references"
	RawLabels     = "following the 1005 series raw, with labels"

	RangeCold   = "range over 1 h, one pod's series, first query"
	RangeSelect = "range over 1 h, one pod's series"
	RangeSum    = "range over 1 h, sum by of the rate of 6000 series"

	InstantSum      = "instant, sum by of the rate of 6000 series"
	InstantSelect   = "instant, one pod's series"
	InstantTop      = "instant, topk of 6000 series"
	InstantQuantile = "instant, histogram_quantile of 60 000 series"

	WindowSample = "CPU of the server, a sample of a known series"
	WindowSeries = "CPU of the server, a new series"
	WindowAll    = "CPU of all processes, a sample of a known series"
	WindowMemory = "peak memory of the server"

	CPU      = ", CPU"
	Bytes    = ", bytes"
	Half     = ", from due to client, p50"
	Most     = ", from due to client, p99"
	Answered = ", share of the steps that were answered"
)

var instants = []string{InstantSum, InstantSelect, InstantTop, InstantQuantile}

// To is the metric of a question to so many.
func To(what string, n int) string { return what + ", to " + strconv.Itoa(n) }

// asked are the rows of the table of queries, each of a time.
func asked() (rows []string) {
	for _, what := range []string{StepRate, StepSum} {
		for _, n := range Crowds {
			rows = append(rows, To(what, n)+CPU)
		}
	}
	for _, what := range append([]string{RangeCold, RangeSelect, RangeSum}, instants...) {
		rows = append(rows, what+CPU, what+Elapsed)
	}
	return rows
}

// queries writes how queries compare with those of the peers.
func (r *Result) queries(out *bytes.Buffer) {
	var rows bytes.Buffer
	for _, series := range r.sizes() {
		for _, metric := range asked() {
			own := r.Find(series, ProjectOne, metric)
			if own == nil {
				continue
			}
			fmt.Fprintf(&rows, "| %s | %s |%s%s\n", metric, own.spread(1e-3), r.beside(series, metric, Prometheus, own), r.beside(series, metric, VictoriaMetrics, own))
		}
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprint(out, "\n## Queries\n\n")
	r.goals(out)
	fmt.Fprintf(out, "\nEach step is of a second: to subscribers of a stream, and to as many who poll a peer. CPU is that of a step for\n"+
		"all of them, without what ingest takes; of what is asked once, that of a query. A ratio is how many times as much\n"+
		"the peer's is. All in ms.\n\n| what | project | Prometheus | ratio | VictoriaMetrics | ratio |\n|---|---|---|---|---|---|\n%s", rows.Bytes())
	r.steps(out)
	r.window(out)
}

// goals writes what of the targets is met.
func (r *Result) goals(out *bytes.Buffer) {
	fmt.Fprint(out, "| target | measured | |\n|---|---|---|\n")
	row := func(what string, value float64, unit string, bound float64) {
		mark := "missed"
		if value <= bound {
			mark = "met"
		}
		fmt.Fprintf(out, "| %s ≤ %s %s | %s | %s |\n", what, number(bound), unit, number(value), mark)
	}
	for _, what := range []string{StepRate, StepSum} {
		if next, first := r.next(what); first != nil {
			row("the hundredth subscriber of the "+what+": of what the first costs", 100*next/first.Median(), "%", 2)
		}
		for _, n := range Crowds {
			if f := r.Find(LiveSeries, ProjectOne, To(what, n)+Most); f != nil {
				row(f.Metric, f.Median()*1e3, "ms", 50)
			}
		}
	}
	for _, what := range instants {
		for _, of := range []string{CPU, Elapsed} {
			own, peer := r.Find(small, ProjectOne, what+of), r.Find(small, Prometheus, what+of)
			if own != nil && peer != nil {
				row(what+of+", of Prometheus'", own.Median()/peer.Median(), "times", 1)
			}
		}
	}
}

// next is what one more subscriber costs, in seconds, with what the first does.
func (r *Result) next(what string) (next float64, first *Figure) {
	first = r.Find(LiveSeries, ProjectOne, To(what, 1)+CPU)
	hundred := r.Find(LiveSeries, ProjectOne, To(what, 100)+CPU)
	if first == nil || hundred == nil {
		return 0, nil
	}
	return (hundred.Median() - first.Median()) / 99, first
}

// beside is a peer's figure, and its ratio to the project's.
func (r *Result) beside(series int, metric, system string, own *Figure) string {
	f := r.Find(series, system, metric)
	if f == nil {
		return " – | – |"
	}
	return fmt.Sprintf(" %s | %s |", f.spread(1e-3), number(f.Median()/own.Median()))
}

// steps writes what one more subscriber costs, and what each takes.
func (r *Result) steps(out *bytes.Buffer) {
	fmt.Fprint(out, "\n| subscription | CPU of the first, ms | of each of the next 99, µs | share of the first | bytes a step | of those followed raw, with references | with labels |\n|---|---|---|---|---|---|---|\n")
	for _, what := range []string{StepRate, StepSum} {
		next, first := r.next(what)
		size := r.Find(LiveSeries, ProjectOne, To(what, 1)+Bytes)
		references, labels := r.Find(LiveSeries, ProjectOne, RawReferences+Bytes), r.Find(LiveSeries, ProjectOne, RawLabels+Bytes)
		if first == nil || size == nil || references == nil || labels == nil {
			continue
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s %% | %s | %s %% | %s %% |\n", what, first.spread(1e-3), number(next*1e6), number(100*next/first.Median()),
			number(size.Median()), number(100*size.Median()/references.Median()), number(100*size.Median()/labels.Median()))
	}
}

// window writes what the window costs.
func (r *Result) window(out *bytes.Buffer) {
	fmt.Fprint(out, "\n| the window, 100 000 series | without | with |\n|---|---|---|\n")
	for _, w := range []struct {
		metric, unit string
		divisor      float64
	}{{WindowSample, "ns", 1}, {WindowSeries, "ns", 1}, {WindowAll, "ns", 1}, {WindowMemory, "MiB", mib}} {
		without, with := r.Find(small, Windowless, w.metric), r.Find(small, ProjectOne, w.metric)
		if without != nil && with != nil {
			fmt.Fprintf(out, "| %s, %s | %s | %s |\n", w.metric, w.unit, without.spread(w.divisor), with.spread(w.divisor))
		}
	}
}
