package h2frames

import (
	"time"

	"golang.org/x/net/http2"
)

// pacer is a token bucket for the streams that a connection opens.
type pacer struct {
	frame
	rate   int     // tokens per second, and the bucket's size
	tokens float64 // negative while the client is too fast
	last   time.Time
}

// delay returns how long to hold back what was read.
func (p *pacer) delay(read []byte, now time.Time) time.Duration {
	n := p.count(read)
	if n == 0 {
		return 0
	}
	if p.last.IsZero() {
		p.tokens = float64(p.rate)
	} else {
		p.tokens = min(float64(p.rate), p.tokens+now.Sub(p.last).Seconds()*float64(p.rate))
	}
	p.last = now
	p.tokens -= float64(n)
	return time.Duration(-min(p.tokens, 0) / float64(p.rate) * float64(time.Second))
}

// count counts the frames in the next bytes of a connection that open a stream.
func (p *pacer) count(b []byte) (n int) {
	for len(b) > 0 {
		if p.payload > 0 {
			some := min(p.payload, len(b))
			p.payload -= some
			b = b[some:]
			continue
		}
		some, complete := p.readHeader(b)
		b = b[some:]
		if complete && http2.FrameType(p.header[3]) == http2.FrameHeaders {
			n++
		}
	}
	return n
}

// pace waits as long as what was read has come too early.
func (c *conn) pace(read []byte) {
	delay := c.pacer.delay(read, time.Now())
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
}
