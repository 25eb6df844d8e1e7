package output

import (
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// Progress shows on a terminal how far a stream has come, in one line that is
// overwritten. It is silent for the first second. Messages for the same terminal
// go through it, so that the line stays below them.
type Progress struct {
	w     io.Writer
	since *time.Time // start of the stream; nil if not known
	now   func() time.Time

	mu      sync.Mutex
	start   time.Time
	updated time.Time
	drawn   string // the line that is shown, "" for none
	samples int
	newest  int64 // latest timestamp, ms; math.MinInt64 before any
}

const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// NewProgress starts the clock now. Where since is known, it shows a percentage.
func NewProgress(w io.Writer, since *time.Time) *Progress {
	now := time.Now()
	return &Progress{w: w, since: since, now: time.Now, newest: math.MinInt64, start: now, updated: now.Add(progressAfter - progressEvery)}
}

// Update counts the samples of series. A nil Progress does nothing, here and in
// Clear.
func (p *Progress) Update(series []*metricsv1.TimeSeries) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range series {
		p.samples += len(s.GetSamples()) + len(s.GetHistograms())
		for _, sample := range s.GetSamples() {
			p.newest = max(p.newest, sample.GetTimestamp())
		}
		for _, h := range s.GetHistograms() {
			p.newest = max(p.newest, h.GetTimestamp())
		}
	}
	now := p.now()
	if now.Sub(p.updated) < progressEvery {
		return
	}
	p.updated = now
	p.drawn = "\r" + p.line(now) + clearLine
	_, _ = io.WriteString(p.w, p.drawn)
}

func (p *Progress) line(now time.Time) string {
	elapsed := now.Sub(p.start)
	text := fmt.Sprintf("%d samples, %.0f a second", p.samples, float64(p.samples)/elapsed.Seconds())
	if p.newest == math.MinInt64 {
		return text
	}
	at := time.UnixMilli(p.newest)
	text += ", up to " + at.UTC().Format("2006-01-02T15:04:05Z")
	if p.since == nil {
		return text
	}
	if all := now.Sub(*p.since); all > 0 {
		text += fmt.Sprintf(", %.0f %%", 100*min(1, max(0, at.Sub(*p.since).Seconds()/all.Seconds())))
	}
	return text
}

// Write writes a message, which ends its line, in place of the line, and the line
// again below it.
func (p *Progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn == "" {
		return p.w.Write(b)
	}
	if _, err := io.WriteString(p.w, "\r"+clearLine+string(b)+p.drawn); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Clear removes the line.
func (p *Progress) Clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn != "" {
		p.drawn = ""
		_, _ = io.WriteString(p.w, "\r"+clearLine)
	}
}
