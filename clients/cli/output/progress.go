package output

import (
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	promgrpc "github.com/promgrpc/exporter/clients/go"
)

// Progress tells on a terminal how far a stream has come, in one line that is
// written over. It is silent in its first second. Messages for the same terminal
// go through it, so that the line stays below them.
type Progress struct {
	w     io.Writer
	since *time.Time // where the stream begins; nil: not known
	now   func() time.Time

	mu      sync.Mutex
	began   time.Time
	told    time.Time
	drawn   string // the line that is shown, "" for none
	samples int
	at      int64 // latest timestamp, ms; the least that there is before any
}

const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// NewProgress begins now. A stream whose beginning is known is told in per cent.
func NewProgress(w io.Writer, since *time.Time) *Progress {
	now := time.Now()
	return &Progress{w: w, since: since, now: time.Now, at: math.MinInt64, began: now, told: now.Add(progressAfter - progressEvery)}
}

// Update counts what came. A nil Progress does nothing, here and in Clear.
func (p *Progress) Update(u promgrpc.Update) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range u.GetTimeseries() {
		p.samples += len(s.GetSamples()) + len(s.GetHistograms())
		for _, sample := range s.GetSamples() {
			p.at = max(p.at, sample.GetTimestamp())
		}
		for _, h := range s.GetHistograms() {
			p.at = max(p.at, h.GetTimestamp())
		}
	}
	now := p.now()
	if now.Sub(p.told) < progressEvery {
		return
	}
	p.told = now
	p.drawn = "\r" + p.line(now) + clearLine
	_, _ = io.WriteString(p.w, p.drawn)
}

func (p *Progress) line(now time.Time) string {
	elapsed := now.Sub(p.began)
	text := fmt.Sprintf("%d samples, %.0f a second", p.samples, float64(p.samples)/elapsed.Seconds())
	if p.at == math.MinInt64 {
		return text
	}
	at := time.UnixMilli(p.at)
	text += ", up to " + at.UTC().Format("2006-01-02T15:04:05Z")
	if p.since == nil {
		return text
	}
	if all := now.Sub(*p.since); all > 0 {
		text += fmt.Sprintf(", %.0f %%", 100*min(1, max(0, at.Sub(*p.since).Seconds()/all.Seconds())))
	}
	return text
}

// Write puts a message, which ends its line, where the line is, and that below.
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
