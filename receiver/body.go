package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/peer"
	"github.com/promgrpc/exporter/internal/snappyblock"
)

const (
	// firstStep is how much memory a body gets before it arrives, whatever its
	// Content-Length says. From there on it grows with what has arrived.
	firstStep = 64 << 10
	// growth is the factor by which it grows.
	growth = 4
	// leastCharge is what a request counts at least: besides its body there are the
	// longest header and what serves it, and an HTTP/2 connection has many.
	leastCharge = 48 << 10
	// grace is how long a body may take at any rate.
	grace = 5 * time.Second
)

// body is a request's compressed body and its share of the budget.
type body struct {
	h     *handler
	data  *buffer.Buffer // Nil as long as the budget has given nothing.
	taken *limit.Hold
	own   int64 // what the body itself has taken
}

// release gives back what the body holds.
func (b *body) release() {
	b.h.metrics.inflightBytes.Sub(float64(b.taken.Held()))
	b.taken.Release()
	if b.data != nil {
		b.data.Release()
	}
}

// grow makes room for n bytes of the body if the budget has them.
func (b *body) grow(n int64) error {
	before := b.taken.Held()
	if err := b.taken.Resize(min(max(int64(buffer.Size(int(n))), leastCharge), b.h.budget.Share())); err != nil {
		return b.h.overLimit(http.StatusServiceUnavailable, fmt.Errorf("too many requests under way: %w", err))
	}
	b.own = b.taken.Held()
	b.h.metrics.inflightBytes.Add(float64(b.own - before))
	if b.data == nil {
		b.data = buffer.Get(int(n))
		return nil
	}
	b.data.Grow(int(n))
	return nil
}

// more makes room for n bytes besides the body's.
func (b *body) more(n int64) error {
	before := b.taken.Held()
	if err := b.taken.Resize(b.own + n); err != nil {
		status := http.StatusServiceUnavailable
		if over := (*limit.Error)(nil); errors.As(err, &over) && !over.Passing {
			status = http.StatusRequestEntityTooLarge
		}
		return b.h.overLimit(status, fmt.Errorf("no room to take the body apart: %w", err))
	}
	b.h.metrics.inflightBytes.Add(float64(b.taken.Held() - before))
	return nil
}

// readBody reads the body up to the limit. Whatever it returns is to be released.
func (h *handler) readBody(w http.ResponseWriter, r *http.Request) (*body, error) {
	b := &body{h: h, taken: h.budget.Hold(peer.At(r.RemoteAddr))}
	most := int64(h.config.RequestBytes)
	if r.ContentLength > most {
		return b, h.tooLarge()
	}
	if r.ContentLength >= 0 {
		most = r.ContentLength
	}
	if err := b.grow(min(most, firstStep) + 1); err != nil { // One more, to meet the end without growing.
		return b, err
	}
	src, pace := http.MaxBytesReader(w, r.Body, int64(h.config.RequestBytes)), newPace(w, h.config.BodyRate)
	for {
		data := b.data.Bytes
		pace.await(len(data))
		n, err := src.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		b.data.Bytes = data
		var tooLarge *http.MaxBytesError
		switch {
		case errors.Is(err, io.EOF):
			pace.done()
			return b, nil
		case errors.As(err, &tooLarge):
			return b, h.tooLarge()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return b, h.overLimit(http.StatusServiceUnavailable, limit.Busy(flagBodyRate,
				"%d bytes of the body came in %s, that is slower than %s a second", len(data), time.Since(pace.began).Round(time.Millisecond), h.config.BodyRate))
		case err != nil:
			// The sender is gone, most likely. If it reads this it should repeat.
			return b, refuse(http.StatusServiceUnavailable, fmt.Errorf("read body: %w", err))
		}
		if len(data) == cap(data) {
			if err := b.grow(min(growth*int64(cap(data)), most+1)); err != nil {
				return b, err
			}
		}
	}
}

func (h *handler) tooLarge() error {
	return h.overLimit(http.StatusRequestEntityTooLarge,
		limit.Over(flagRequestBytes, "the body is over the limit of %s", h.config.RequestBytes))
}

// overLimit refuses a request because of a limit, and counts it.
func (h *handler) overLimit(status int, err error) error {
	if over := (*limit.Error)(nil); errors.As(err, &over) {
		h.metrics.overLimit.WithLabelValues(over.Name).Inc()
	}
	return refuse(status, err)
}

// framedMagic starts snappy's other format, the framed one. No block can start like
// this: it would copy from before its first byte.
var framedMagic = []byte("\xff\x06\x00\x00sNaPpY")

// checkSnappy looks at the length that a snappy block starts with, so that nobody
// allocates what a few bytes claim.
func (h *handler) checkSnappy(data []byte) error {
	if bytes.HasPrefix(data, framedMagic) {
		return refuse(http.StatusUnsupportedMediaType, errors.New("the body is in snappy's framed format, remote write has the block format"))
	}
	decoded, err := snappyblock.Claim(data)
	switch {
	case err != nil:
		return refuse(http.StatusBadRequest, errors.New("the body is no snappy block"))
	case decoded > uint64(h.config.DecodedBytes):
		return h.overLimit(http.StatusRequestEntityTooLarge,
			limit.Over(flagDecodedBytes, "the body says that it is %d bytes decompressed, the limit is %d", decoded, int64(h.config.DecodedBytes)))
	case !snappyblock.Holds(data, decoded):
		return refuse(http.StatusBadRequest, fmt.Errorf("the body is no snappy block: %d bytes cannot hold the %d that it claims", len(data), decoded))
	}
	return nil
}
