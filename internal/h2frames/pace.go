package h2frames

import (
	"time"

	"golang.org/x/net/http2"
)

// openings paces the calls that a connection of HTTP/2 begins. net/http bounds how
// many go on at a time, but not how many a client begins and resets, each of which
// costs as much as a small call. Those that come too fast wait, and with them what
// the client sends behind them.
type openings struct {
	rate  int // per second, as many of which may come at once
	saved float64
	last  time.Time

	header [frameHeader]byte // of the frame that is being read
	got    int               // bytes of the header
	left   int               // bytes of the frame that are still to come
}

// wait returns how long to wait before what was read is passed on.
func (o *openings) wait(read []byte, now time.Time) time.Duration {
	n := o.count(read)
	if n == 0 {
		return 0
	}
	if o.last.IsZero() {
		o.saved = float64(o.rate)
	} else {
		o.saved = min(float64(o.rate), o.saved+now.Sub(o.last).Seconds()*float64(o.rate))
	}
	o.last = now
	o.saved -= float64(n)
	return time.Duration(-min(o.saved, 0) / float64(o.rate) * float64(time.Second))
}

// count counts the frames that begin a call in the next bytes of a connection.
func (o *openings) count(b []byte) (n int) {
	for len(b) > 0 {
		if o.left > 0 {
			some := min(o.left, len(b))
			o.left -= some
			b = b[some:]
			continue
		}
		some := copy(o.header[o.got:], b)
		b = b[some:]
		if o.got += some; o.got < frameHeader {
			continue
		}
		o.got, o.left = 0, frameSize(o.header[:])
		if http2.FrameType(o.header[3]) == http2.FrameHeaders {
			n++
		}
	}
	return n
}

// pace waits for as long as what was read has come too early.
func (c *conn) pace(read []byte) {
	wait := c.openings.wait(read, time.Now())
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
}
