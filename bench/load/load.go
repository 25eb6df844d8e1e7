// Package load makes remote-write requests as a Prometheus would send them, and
// sends them. The requests are encoded beforehand, so that sending costs the
// machine little beside what is measured.
//
// The same Plan makes the same bytes, whoever they are sent to.
package load

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/golang/snappy"
)

// Plan says what to make. A round is one sample of every series.
type Plan struct {
	Series     int           `json:"series"`
	Rounds     int           `json:"rounds"`
	PerRequest int           `json:"per_request"` // series a request
	Version    int           `json:"version"`     // of remote write, 1 or 2
	Interval   time.Duration `json:"interval"`    // between two rounds' timestamps
	Churn      float64       `json:"churn"`       // share of the targets that are replaced from one round to the next
	Last       time.Time     `json:"-"`           // timestamp of the last round
}

// Load is the requests of a plan.
type Load struct {
	Plan     Plan
	Bodies   [][]byte // compressed, round by round
	RawBytes int64    // before compression
	Labels   float64  // a series
}

// Samples in a number of rounds.
func (p Plan) Samples(rounds int) int { return p.Series * rounds }

// Requests of a round.
func (p Plan) Requests() int { return (p.Series + p.PerRequest - 1) / p.PerRequest }

// Bytes of the bodies of the rounds from and up to, but not including, to.
func (l *Load) Bytes(from, to int) (n int64) {
	for _, body := range l.Rounds(from, to) {
		n += int64(len(body))
	}
	return n
}

// Rounds returns the bodies of the rounds from and up to, but not including, to.
func (l *Load) Rounds(from, to int) [][]byte {
	return l.Bodies[from*l.Plan.Requests() : to*l.Plan.Requests()]
}

// Timestamp of a request of a round, in milliseconds. No two requests have the
// same, so that a reader can tell which one a sample came with.
func (p Plan) Timestamp(round, request int) int64 {
	return p.Last.UnixMilli() - int64(p.Rounds-1-round)*p.Interval.Milliseconds() + int64(request)
}

// Make encodes all requests of a plan.
func Make(p Plan) (*Load, error) {
	if p.Series <= 0 || p.Rounds <= 0 || p.PerRequest <= 0 {
		return nil, fmt.Errorf("plan of %d series, %d rounds, %d series a request: all must be above zero", p.Series, p.Rounds, p.PerRequest)
	}
	if p.Version != 1 && p.Version != 2 {
		return nil, fmt.Errorf("remote write %d.0: want 1 or 2", p.Version)
	}
	if p.Interval < time.Duration(p.Requests())*time.Millisecond {
		return nil, fmt.Errorf("an interval of %s is too short for the %d requests of a round", p.Interval, p.Requests())
	}
	l := &Load{Plan: p, Bodies: make([][]byte, p.Rounds*p.Requests())}
	requests := make(chan int)
	var workers sync.WaitGroup
	var mu sync.Mutex
	labels := 0
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			var e encoder
			for request := range requests {
				e.column(l, request)
			}
			mu.Lock()
			defer mu.Unlock()
			l.RawBytes += e.raw
			labels += e.labels
		})
	}
	for request := range p.Requests() {
		requests <- request
	}
	close(requests)
	workers.Wait()
	l.Labels = float64(labels) / float64(p.Samples(p.Rounds))
	return l, nil
}

// column encodes one request of each round: the same series, at other times.
func (e *encoder) column(l *Load, request int) {
	p := l.Plan
	first := request * p.PerRequest
	end := min(first+p.PerRequest, p.Series)
	targets := make([]target, (end-1)/targetSeries-first/targetSeries+1)
	for i := range targets {
		targets[i].restart(first/targetSeries+i, 0)
	}
	var compressed []byte
	for round := range p.Rounds {
		at := p.Timestamp(round, request)
		e.begin(p.Version)
		for i := range targets {
			t := &targets[i]
			phase := source(t.number)
			if g := int(math.Floor(float64(round)*p.Churn + phase.float())); g != t.generation {
				t.restart(t.number, g)
			}
			t.advance(round)
			base := t.number * targetSeries
			for s := max(first, base); s < min(end, base+targetSeries); s++ {
				e.series(t, s-base, at)
			}
		}
		body := e.end()
		e.raw += int64(len(body))
		compressed = snappy.Encode(compressed[:cap(compressed)], body)
		l.Bodies[round*p.Requests()+request] = append([]byte(nil), compressed...)
	}
}
