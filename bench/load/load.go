// Package load makes remote-write requests as Prometheus would send them, and sends
// them. Requests are encoded beforehand, so that sending takes little CPU. The same
// Plan always makes the same bytes.
package load

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"golang.org/x/sync/errgroup"
)

// Plan says what to make. A round is one sample of every series.
type Plan struct {
	Profile    *Profile
	Series     int
	Rounds     int
	PerRequest int           // series a request
	Version    int           // of remote write, 1 or 2
	Interval   time.Duration // between two rounds' timestamps
	Churn      float64       // share of the targets that are replaced from one round to the next
	Last       time.Time     // timestamp of the last round
}

// Load is the requests of a plan.
type Load struct {
	Plan     Plan
	Bodies   [][]byte // compressed, round by round
	RawBytes int64    // before compression
	Numbers  int      // how many samples of the last round are numbers: neither native histograms nor NaN
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

// Timestamp of a request of a round, in milliseconds. Each request has its own, so that
// a reader can tell which request a sample came with.
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
	if p.Profile == nil {
		return nil, errors.New("plan without a profile")
	}
	l := &Load{Plan: p, Bodies: make([][]byte, p.Rounds*p.Requests())}
	var raw, numbers atomic.Int64
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for request := range p.Requests() {
		group.Go(func() error {
			e := encoder{symbols: writev2.NewSymbolTable()}
			n, err := e.column(l, request)
			raw.Add(e.raw)
			numbers.Add(n)
			return err
		})
	}
	err := group.Wait()
	l.RawBytes, l.Numbers = raw.Load(), int(numbers.Load())
	return l, err
}

// column encodes one request of each round, all of the same series. It returns how many
// samples of the last are numbers.
func (e *encoder) column(l *Load, request int) (numbers int64, err error) {
	p := l.Plan
	first := request * p.PerRequest
	part, err := p.Profile.Part(p, first, min(first+p.PerRequest, p.Series))
	if err != nil {
		return 0, fmt.Errorf("profile %s: %w", p.Profile.Name, err)
	}
	for round := range p.Rounds {
		at := p.Timestamp(round, request)
		numbers = 0
		for series := range part(round) {
			e.add(p.Version, series, at)
			if series.Histogram == nil && !math.IsNaN(series.Value) {
				numbers++
			}
		}
		if l.Bodies[round*p.Requests()+request], err = e.body(p.Version); err != nil {
			return 0, err
		}
	}
	return numbers, nil
}
