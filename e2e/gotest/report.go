package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	// slow is how long a test takes that is worth a line.
	slow = 2 * time.Second
	// mostRunning that are named when nothing else is to be said.
	mostRunning = 4
)

// test is a test that has begun, or with an empty name its package.
type test struct {
	began  time.Time
	waits  bool // for its turn among parallel tests
	output strings.Builder
}

type name struct{ pkg, test string }

func (n name) String() string { return strings.TrimSpace(short(n.pkg) + " " + n.test) }

// parent of a subtest is a test, and of a test its package.
func (n name) parent() name {
	return name{n.pkg, n.test[:max(0, strings.LastIndexByte(n.test, '/'))]}
}

// sub says whether it is a subtest.
func (n name) sub() bool { return strings.Contains(n.test, "/") }

// report prints what happens.
type report struct {
	w        io.Writer
	began    time.Time
	said     time.Time // something was printed
	tests    map[name]*test
	packages int
	passed   int
	failed   []name
}

func newReport(w io.Writer, now time.Time) *report {
	return &report{w: w, began: now, said: now, tests: map[name]*test{}}
}

// follow events to their end.
func (r *report) follow(events <-chan event, ticks <-chan time.Time) {
	for {
		select {
		case e, more := <-events:
			if !more {
				return
			}
			r.take(e, time.Now())
		case now := <-ticks:
			r.remind(now)
		}
	}
}

func (r *report) say(now time.Time, format string, args ...any) {
	r.said = now
	_, _ = fmt.Fprintf(r.w, format, args...)
}

// take an event.
func (r *report) take(e event, now time.Time) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		r.say(now, "%s", e.Output)
	case "start", "run":
		r.tests[n] = &test{began: now}
	case "pause":
		r.of(n, now).waits = true
	case "cont":
		t := r.of(n, now)
		t.waits, t.began = false, now
	case "output":
		r.of(n, now).output.WriteString(e.Output)
	case "pass":
		r.pass(n, e, now)
	case "fail":
		r.fail(n, now)
	case "skip":
		// A package without tests is one that is skipped.
		if n.test != "" {
			r.fail(n, now)
		}
		delete(r.tests, n)
	}
}

func (r *report) of(n name, now time.Time) *test {
	t := r.tests[n]
	if t == nil {
		t = &test{began: now}
		r.tests[n] = t
	}
	return t
}

func (r *report) pass(n name, e event, now time.Time) {
	took := time.Duration(e.Elapsed * float64(time.Second))
	switch {
	case n.test == "":
		r.packages++
		cached := ""
		if t := r.tests[n]; t != nil && strings.Contains(t.output.String(), "(cached)") {
			cached = ", cached"
		}
		r.say(now, "ok    %s (%s%s)\n", short(n.pkg), took.Round(time.Millisecond), cached)
	case n.sub():
	default:
		r.passed++
		if took >= slow {
			r.say(now, "ok    %s (%s)\n", n, took.Round(100*time.Millisecond))
		}
	}
	delete(r.tests, n)
}

// fail prints all that was said by what failed, and by what a package that ends
// leaves unfinished.
func (r *report) fail(n name, now time.Time) {
	r.failed = append(r.failed, n)
	if n.test == "" {
		for _, left := range r.running(func(other name) bool { return other.pkg == n.pkg && other.test != "" }) {
			r.say(now, "%s", r.tests[left].output.String())
			delete(r.tests, left)
		}
	}
	if t := r.tests[n]; t != nil {
		r.say(now, "%s", t.output.String())
	}
	r.say(now, "FAIL  %s\n", n)
	delete(r.tests, n)
}

// running are tests that have begun, those that run longest first.
func (r *report) running(which func(name) bool) (list []name) {
	for n := range r.tests {
		if which(n) {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b name) int {
		if c := r.tests[a].began.Compare(r.tests[b].began); c != 0 {
			return c
		}
		return strings.Compare(a.String(), b.String())
	})
	return list
}

// remind of what still runs, if nothing else was said for long.
func (r *report) remind(now time.Time) {
	if now.Sub(r.said) < quiet {
		return
	}
	parents := map[name]bool{}
	for n, t := range r.tests {
		if n.test != "" && !t.waits {
			parents[n.parent()] = true
		}
	}
	var texts []string
	for _, n := range r.running(func(n name) bool { return !parents[n] && !r.tests[n].waits }) {
		texts = append(texts, fmt.Sprintf("%s (%s)", n, now.Sub(r.tests[n].began).Round(time.Second)))
	}
	if more := len(texts) - mostRunning; more > 0 {
		texts = append(texts[:mostRunning], fmt.Sprintf("%d more", more))
	}
	if len(texts) == 0 {
		texts = []string{"still compiling"}
	}
	r.say(now, "%5s %s\n", now.Sub(r.began).Round(time.Second), strings.Join(texts, ", "))
}

// sum up.
func (r *report) sum(now time.Time) {
	took := now.Sub(r.began).Round(time.Second)
	if len(r.failed) == 0 {
		r.say(now, "ok    all %d tests of %d packages (%s)\n", r.passed, r.packages, took)
		return
	}
	r.say(now, "FAIL  after %s:\n", took)
	for _, n := range r.failed {
		r.say(now, "      %s\n", n)
	}
}

// short is the path of a package in the repository.
func short(pkg string) string {
	const module = "github.com/promgrpc/exporter"
	switch rest, ours := strings.CutPrefix(pkg, module); {
	case !ours:
		return pkg
	case rest == "":
		return "."
	default:
		return strings.TrimPrefix(rest, "/")
	}
}
